#include "launch/data/escaped.h"

#include <algorithm>

#include "core/base/text.h"

namespace pscale {
namespace {

/// Bytes of the printable UTF-8 character at `at`; 0 where there is none.
size_t character_at(const std::string& text, size_t at) {
  const auto byte = [&](size_t k) {
    return at + k < text.size() ? static_cast<unsigned char>(text[at + k]) : 0;
  };
  const int first = byte(0), second = byte(1);
  if (first < 0x80) return first >= 32 && first != 127;
  const size_t bytes = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (size_t k = 1; k < bytes; ++k)
    if (byte(k) < 0x80 || byte(k) > 0xbf) return 0;
  // C1 controls, overlong forms, surrogates, beyond the last character.
  const bool refused = (first == 0xc2 && second < 0xa0) || (first == 0xe0 && second < 0xa0) ||
                       (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
                       (first == 0xf4 && second > 0x8f);
  return refused ? 0 : bytes;
}

}  // namespace

std::string escaped(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = character_at(text, at);
    const auto c = static_cast<unsigned char>(text[at]);
    if (bytes > 1) {
      out += text.substr(at, bytes);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (bytes == 0) {
      out += cat("\\x", digits[c / 16], digits[c % 16]);
    } else {
      if (c == '\\' || c == '"') out += '\\';
      out += text[at];
    }
    at += std::max<size_t>(bytes, 1);
  }
  return out;
}

}  // namespace pscale
