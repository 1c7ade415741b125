// Every byte is a token: no vocabulary file, any text or data, exact round trips.
#pragma once

#include "data/tokenizer/tokenizer.h"

namespace pscale {

class ByteTokenizer : public Tokenizer {
 public:
  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  void decode(std::span<const int32_t> tokens, std::string& out) const override;
  int64_t vocab_size() const override { return 257; }
  int32_t end_of_document() const override { return 256; }
  std::string name() const override { return "bytes"; }
  bool encodes_in_pieces() const override { return true; }
};

}  // namespace pscale
