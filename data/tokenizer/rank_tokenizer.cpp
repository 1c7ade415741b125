#include "data/tokenizer/rank_tokenizer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <unordered_map>

#include "core/base/durable_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/tokenizer/end_of_document.h"
#include "data/tokenizer/pair_tokenizer.h"

namespace pscale {
namespace {

constexpr int32_t kMostRanks = 1 << 24;
constexpr int kExtras = 205;

/// The bytes that base64 stands for; false where it is none.
bool from_base64(std::string_view text, std::string& out) {
  out.clear();
  if (text.empty() || text.size() % 4 != 0) return false;
  while (text.ends_with('=') && text.size() % 4 != 2) text.remove_suffix(1);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return !out.empty();
}

/// Bytes by rank.
std::vector<std::string> read_ranks(const std::string& file, const std::string& content) {
  std::vector<std::string> tokens;
  size_t number = 0, count = 0;
  std::string bytes;
  for (size_t at = 0; at < content.size();) {
    ++number;
    const size_t end = std::min(content.find('\n', at), content.size());
    std::string_view line(content.data() + at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t blank = line.find(' ');
    int32_t rank = -1;
    const char* const stop = line.data() + line.size();
    if (blank == std::string_view::npos || !from_base64(line.substr(0, blank), bytes) ||
        std::from_chars(line.data() + blank + 1, stop, rank).ptr != stop || rank < 0 || rank >= kMostRanks)
      throw UserError(cat(file, ":", number, ": \"", line.substr(0, 60),
                          "\" is not a token in base64, a space and its rank"));
    if (static_cast<size_t>(rank) >= tokens.size()) tokens.resize(static_cast<size_t>(rank) + 1);
    auto& token = tokens[static_cast<size_t>(rank)];
    if (!token.empty()) throw UserError(cat(file, ":", number, ": rank ", rank, " was given before"));
    token = bytes;
    ++count;
  }
  if (count == 0) throw UserError(cat(file, ": holds no ranks"));
  if (count != tokens.size())
    throw UserError(cat(file, ": has ", count, " ranks, but the largest is ", tokens.size() - 1, ": some are missing"));
  return tokens;
}

}  // namespace

std::unique_ptr<Tokenizer> read_rank_tokenizer(const std::string& file, const std::string& end_of_document) {
  const std::string stem = std::filesystem::path(file).stem().string();
  for (const char* other : {"cl100k_base", "o200k_base", "o200k_harmony", "p50k_base", "r50k_base", "gpt2"})
    if (stem == other)
      throw UserError(cat(file, ": the encoding ", other, " is not supported: a .tiktoken file is read as one of Qwen"));
  const std::string content = read_file(file);
  PairTokenizerParts parts;
  parts.name = cat("xxh3:", to_hex(hash_of(content.data(), content.size())));
  parts.files = {file};
  parts.nfc = true;
  parts.words.add_split(Pattern(kQwenPattern), SplitBehavior::isolated, false);
  parts.texts = read_ranks(file, content);
  auto& ranks = parts.whole_words;
  for (size_t rank = 0; rank < parts.texts.size(); ++rank)
    if (!ranks.emplace(parts.texts[rank], static_cast<int32_t>(rank)).second)
      throw UserError(cat(file, ": ranks ", ranks.at(parts.texts[rank]), " and ", rank, " are the same token"));
  for (int byte = 0; byte < 256; ++byte) {
    const auto token = ranks.find(std::string(1, static_cast<char>(byte)));
    if (token == ranks.end()) throw UserError(cat(file, ": byte ", byte, " has no rank"));
    parts.pairs.set_byte(static_cast<unsigned char>(byte), token->second);
  }
  // Every way to cut a token into two is a merge, whose rank is that of the token.
  for (const auto& [bytes, rank] : ranks)
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto left = ranks.find(bytes.substr(0, cut)), right = ranks.find(bytes.substr(cut));
      if (left != ranks.end() && right != ranks.end())
        parts.pairs.add_merge(left->second, right->second, rank, rank);
    }
  std::vector<std::string> special = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int k = 0; k < kExtras; ++k) special.push_back(cat("<|extra_", k, "|>"));
  for (const std::string& content_of : special) {
    AddedToken token{content_of, static_cast<int32_t>(parts.texts.size())};
    token.special = true;
    parts.raw_tokens.add(content_of, token);
    parts.texts.push_back(content_of);
  }
  parts.end_of_document = find_end_of_document(
      file, end_of_document.empty() ? special[0] : end_of_document, [&](const std::string& token) -> std::optional<int32_t> {
        const auto found = std::find(parts.texts.begin(), parts.texts.end(), token);
        if (found == parts.texts.end()) return {};
        return static_cast<int32_t>(found - parts.texts.begin());
      });
  return std::make_unique<PairTokenizer>(std::move(parts));
}

}  // namespace pscale
