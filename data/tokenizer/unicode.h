// What the tokenizers need to know about characters, as the `tokenizers` package knows it. Its regular expressions
// follow Unicode 16 and its normal forms Unicode 9, whatever the libraries here follow: the tables of unicode.cpp
// bridge the difference.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pscale {

/// The byte at which `text` stops being UTF-8, or npos. Surrogates, overlong forms and numbers beyond 0x10ffff are not.
size_t find_invalid_utf8(std::string_view text);

/// The character at byte `at` of valid UTF-8; moves `at` behind it.
inline uint32_t next_character(std::string_view text, size_t& at) {
  const auto byte = [&](size_t k) { return static_cast<uint32_t>(static_cast<unsigned char>(text[at + k])); };
  const uint32_t first = byte(0);
  uint32_t c = first;
  size_t bytes = 1;
  if (first >= 0xf0) {
    c = (first & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
    bytes = 4;
  } else if (first >= 0xe0) {
    c = (first & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    bytes = 3;
  } else if (first >= 0xc0) {
    c = (first & 31) << 6 | (byte(1) & 63);
    bytes = 2;
  }
  at += bytes;
  return c;
}

/// Whether a byte is not the first of a character.
inline bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }
/// The byte where the character that ends before byte `end` > 0 begins.
inline size_t character_before(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && continues(text[end]));
  return end;
}

void append_character(uint32_t c, std::string& out);

/// The property White_Space.
bool is_white_space(uint32_t c);
/// The general category L.
bool is_letter(uint32_t c);
/// The general category P without the connectors Pc, which are characters of words.
bool is_punctuation(uint32_t c);
/// The general category N (Unicode 17, which the Digits pre-tokenizer follows).
bool is_number(uint32_t c);
/// A character of words: letters, marks, decimal digits, connectors, joiners.
bool is_word_character(uint32_t c);

/// Characters that Unicode 15 to 16 added, in order, with their general category ("Lu").
struct LateCharacters {
  uint32_t first, last;
  char category[3];
};
const std::vector<LateCharacters>& late_characters();
/// Whether a regular expression may see other properties in `text` than those of Unicode 16: where it has late
/// characters, or U+180E, which PCRE2 alone takes for a blank.
bool has_late_characters(std::string_view text);

/// Normalization form C of valid UTF-8; linear but for the sorting of long runs of combining marks. Returns false
/// where `text` already has it, as far as a quick look tells; then `out` is not touched.
bool normalize_nfc(std::string_view text, std::string& out);

}  // namespace pscale
