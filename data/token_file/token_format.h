// The pair of files that Megatron-LM reads, as megatron-core's IndexedDataset
// (megatron/core/datasets/indexed_dataset.py, format version 1) writes it. Shared by the reader and the
// writer.
//
// PREFIX.bin: the tokens of all sequences, one after the other, nothing between them.
// PREFIX.idx, all numbers little-endian and unaligned:
//   9 bytes   "MMIDIDX\0\0"
//   uint64    version, 1
//   uint8     type of a token: 4 = int32, 8 = uint16
//   uint64    S, number of sequences
//   uint64    D, number of entries of the document index (documents + 1)
//   int32[S]  tokens of each sequence
//   int64[S]  byte in PREFIX.bin where each sequence starts
//   int64[D]  first sequence of each document, then S
// A document is one sequence or, where it is too long for int32, several.
//
// PREFIX.meta.json is ours: {tokenizer, vocab_size, end_of_document (null where none was written), documents,
// tokens}, and part ("2/4") where it is one of several.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>

namespace pscale {

static_assert(std::endian::native == std::endian::little, "the formats of this folder are little-endian");

constexpr char kTokenIndexMagic[9] = {'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};
constexpr uint64_t kTokenIndexVersion = 1;
constexpr int64_t kTokenIndexHeader = 9 + 8 + 1 + 8 + 8;  ///< bytes before the lengths

/// The codes of the format.
enum class TokenType : uint8_t { int32 = 4, uint16 = 8 };

/// megatron-core's choice: uint16 where the vocabulary is smaller than 65500.
inline TokenType token_type_for(int64_t vocab_size) {
  return vocab_size < 65500 ? TokenType::uint16 : TokenType::int32;
}
inline int64_t size_of(TokenType type) { return type == TokenType::uint16 ? 2 : 4; }
inline const char* name_of(TokenType type) { return type == TokenType::uint16 ? "uint16" : "int32"; }

/// What the token ids mean: PREFIX.meta.json.
struct TokenMeaning {
  std::string tokenizer;
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_document;  ///< absent where documents do not end with one
  std::string part;                        ///< "2/4": the second of four parts of a corpus; empty: all of it
};

inline std::string bin_path(const std::string& prefix) { return prefix + ".bin"; }
inline std::string idx_path(const std::string& prefix) { return prefix + ".idx"; }
inline std::string meta_path(const std::string& prefix) { return prefix + ".meta.json"; }

}  // namespace pscale
