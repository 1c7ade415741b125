// Reads a pair of token files (format: token_format.h), mapped into memory. Any thread may read.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "data/files/mapped_file.h"
#include "data/token_file/token_format.h"

namespace pscale {

class TokenFile {
 public:
  /// `prefix` is the path without .bin and .idx. Reads the whole index and checks it against itself, the size
  /// of the tokens and, if there is one, PREFIX.meta.json. Throws UserError naming the file that is missing
  /// or wrong.
  explicit TokenFile(std::string prefix);

  const std::string& prefix() const { return prefix_; }
  TokenType type() const { return type_; }
  int64_t documents() const { return documents_; }
  int64_t sequences() const { return sequences_; }
  int64_t tokens() const { return tokens_; }
  /// Absent where there is no PREFIX.meta.json, as in files of other programs.
  const std::optional<TokenMeaning>& meaning() const { return meaning_; }
  /// No token is greater or equal: from PREFIX.meta.json; without it, all tokens are read to find the largest
  /// one.
  int64_t vocabulary() const;

  /// First token of a document; tokens() for documents().
  int64_t document_begin(int64_t document) const;
  /// First sequence of a document; sequences() for documents().
  int64_t first_sequence(int64_t document) const;
  int32_t sequence_length(int64_t sequence) const;
  /// All of PREFIX.bin, mapped.
  std::span<const unsigned char> token_bytes() const { return {bin_.data(), static_cast<size_t>(bin_.size())}; }
  /// The document that holds a token.
  int64_t document_of(int64_t token) const;

  /// A number that tells these token files from others, wherever they lie: counts, type, vocabulary and a sample of the
  /// tokens. Reads a few hundred kilobytes at most.
  uint64_t fingerprint() const;
  /// A hash of all of PREFIX.idx: where documents begin and end.
  uint64_t index_hash() const;

  /// Copies tokens first to first + out.size() - 1, which must exist. Throws UserError where the file cannot be read any more.
  void read(int64_t first, std::span<int32_t> out) const;

 private:
  /// Numbers within the index, which need not be aligned.
  template <class T>
  struct Array {
    const unsigned char* bytes = nullptr;
    T operator[](int64_t i) const {
      T value;
      std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
      return value;
    }
  };
  void open_index();
  void check_sequences() const;
  void check_documents() const;
  void read_meaning();
  [[noreturn]] void corrupt(const std::string& what) const;

  std::string prefix_;
  MappedFile index_, bin_;
  TokenType type_ = TokenType::uint16;
  int64_t documents_ = 0, sequences_ = 0, tokens_ = 0;
  Array<int32_t> lengths_;
  Array<int64_t> pointers_, document_index_;
  std::optional<TokenMeaning> meaning_;
};

}  // namespace pscale
