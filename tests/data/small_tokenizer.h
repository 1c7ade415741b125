// A byte-level tokenizer.json small enough to see through: the 256 bytes have ids 0 to 255 in the order in which GPT-2's
// vocabularies have them ("!" is 0), merges follow from 256 on.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "tests/data/folder.h"

namespace pscale {

using Json = nlohmann::json;

/// The characters of the bytes, in the order of their ids.
inline std::vector<std::string> byte_letters() {
  std::vector<std::string> letters;
  const auto utf8 = [](unsigned c) {
    if (c < 0x80) return std::string(1, static_cast<char>(c));
    return std::string{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  };
  for (unsigned c = 33; c < 127; ++c) letters.push_back(utf8(c));
  for (unsigned c = 161; c < 256; ++c)
    if (c != 173) letters.push_back(utf8(c));
  for (unsigned c = 256; letters.size() < 256; ++c) letters.push_back(utf8(c));
  return letters;
}

/// "Ġ" is how such files write a space.
inline Json small_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges = {
                                {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"Ġ", "hello"}, {"1", "2"}}) {
  Json vocab = Json::object(), pairs = Json::array();
  for (const std::string& letter : byte_letters()) vocab.emplace(letter, vocab.size());
  for (const auto& [left, right] : merges) {
    vocab.emplace(left + right, vocab.size());
    pairs.push_back(left + " " + right);
  }
  const auto end = static_cast<int>(vocab.size());
  return {{"version", "1.0"},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"post_processor", nullptr},
          {"added_tokens",
           {{{"id", end}, {"content", "<|endoftext|>"}, {"special", true}, {"normalized", false}}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", pairs}}}};
}

inline std::string base64(const std::string& bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (at + k < bytes.size() ? static_cast<unsigned char>(bytes[at + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += at + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

/// The lines of a rank file: the bytes, then `tokens`.
inline std::string whole_ranks(const std::vector<std::string>& tokens) {
  std::string out;
  int rank = 0;
  for (int byte = 0; byte < 256; ++byte) out += base64(std::string(1, static_cast<char>(byte))) + " " + std::to_string(rank++) + "\n";
  for (const std::string& token : tokens) out += base64(token) + " " + std::to_string(rank++) + "\n";
  return out;
}

inline std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  tokenizer.encode(text, ids);
  return ids;
}

inline std::string text_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  std::string text;
  tokenizer.decode(ids, text);
  return text;
}

}  // namespace pscale
