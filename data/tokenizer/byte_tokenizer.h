// Every byte is a token: no vocabulary file, any text or data, exact round trips.
#pragma once

#include "data/tokenizer/tokenizer.h"

namespace pscale {

class ByteTokenizer : public Tokenizer {
 public:
  explicit ByteTokenizer(bool ends_documents = true) : ends_documents_(ends_documents) {}

  void encode(std::string_view text, std::vector<int32_t>& out) const override;
  /// The end of a document has no text.
  void decode(std::span<const int32_t> tokens, std::string& out) const override;
  int64_t vocab_size() const override { return 257; }
  std::optional<int32_t> end_of_document() const override {
    return ends_documents_ ? std::optional<int32_t>(256) : std::nullopt;
  }
  std::string name() const override { return "bytes"; }
  bool needs_utf8() const override { return false; }
  size_t safe_cut(std::string_view text) const override { return text.size(); }

 private:
  bool ends_documents_;
};

}  // namespace pscale
