// Writes a pair of token files with PREFIX.meta.json (format: token_format.h). The files appear under their
// names when all of them are complete, PREFIX.idx last, so a reader never finds half of a pair. Memory does not grow with
// the documents: the index is written as they come.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/files/output_file.h"
#include "data/token_file/token_file.h"
#include "data/token_file/token_format.h"

namespace pscale {

class TokenFileWriter {
 public:
  /// Makes missing folders. A document of more than `longest` tokens becomes several sequences. Throws
  /// UserError where nothing can be written there.
  TokenFileWriter(std::string prefix, TokenMeaning meaning,
                  int32_t longest = std::numeric_limits<int32_t>::max());

  /// Appends tokens in [0, vocab_size) to the current document.
  void append(std::span<const int32_t> tokens);
  /// Ends the current document, with the end-of-document token if the meaning has one.
  void end_document();
  /// Takes back what was appended to the current document.
  void drop_document();
  /// Appends all documents of other token files as they are. They must have the same type, and documents that end in
  /// the same way: nothing is added to them. `report` hears of the bytes of tokens that are done.
  void append_documents(const TokenFile& other, const std::function<void(int64_t bytes)>& report);
  /// Completes the files under their names. Nothing may be appended afterwards. Without it nothing is left
  /// behind. `beside` gives names to what belongs to the files: older token files of the name are no longer, and these
  /// not yet, found meanwhile.
  void finish(const std::function<void()>& beside = [] {});

  TokenType type() const { return type_; }
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }

 private:
  void end_sequence();
  void mark_document();
  void complete_index();
  void write_meaning();

  std::string prefix_;
  TokenMeaning meaning_;
  TokenType type_;
  int32_t longest_;
  OutputFile bin_, index_, meta_;
  std::vector<uint16_t> narrow_;
  int64_t documents_ = 0, sequences_ = 0, tokens_ = 0;
  int32_t length_ = 0;                                 // of the current sequence
  int64_t document_sequence_ = 0, document_token_ = 0;  // where the current document begins
  /// (d, n): n sequences come before document d, where that is not as many more as documents since the last entry.
  std::vector<std::pair<int64_t, int64_t>> first_sequences_{{0, 0}};
};

}  // namespace pscale
