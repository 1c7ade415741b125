// Writes a pair of token files with PREFIX.meta.json (format: token_format.h). The files appear under their
// names when all of them are complete, PREFIX.idx last, so a reader never finds half of a pair.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "data/files/output_file.h"
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
  /// Completes the files under their names. Nothing may be appended afterwards. Without it nothing is left
  /// behind.
  void finish();

  TokenType type() const { return type_; }
  int64_t documents() const { return static_cast<int64_t>(document_index_.size()) - 1; }
  int64_t tokens() const { return tokens_; }

 private:
  void end_sequence();
  void write_index();
  void write_meaning();

  std::string prefix_;
  TokenMeaning meaning_;
  TokenType type_;
  int32_t longest_;
  OutputFile bin_, index_, meta_;
  std::vector<uint16_t> narrow_;
  std::vector<int32_t> lengths_;
  std::vector<int64_t> document_index_{0};
  int64_t tokens_ = 0;
  int32_t length_ = 0;  // of the current sequence
};

}  // namespace pscale
