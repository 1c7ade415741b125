#include "data/tokenizer/byte_tokenizer.h"

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {

void ByteTokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  const size_t before = out.size();
  out.resize(before + text.size());
  std::transform(text.begin(), text.end(), out.begin() + static_cast<std::ptrdiff_t>(before),
                 [](char c) { return static_cast<int32_t>(static_cast<unsigned char>(c)); });
}

void ByteTokenizer::decode(std::span<const int32_t> tokens, std::string& out) const {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size())
      throw UserError(cat("token ", token, " is not one of the tokenizer bytes, whose ids are 0 to 256"));
    if (token != 256) out.push_back(static_cast<char>(token));
  }
}

}  // namespace pscale
