#include "data/tokenizer/added_tokens.h"

#include <algorithm>
#include <cctype>

#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

/// The byte where the character before `end` begins.
size_t character_before(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

bool ends_with_word(std::string_view text, size_t end) {
  if (end == 0) return false;
  size_t at = character_before(text, end);
  return is_word_character(next_character(text, at));
}

bool starts_with_word(std::string_view text, size_t at) {
  return at < text.size() && is_word_character(next_character(text, at));
}

size_t blanks_before(std::string_view text, size_t end, size_t limit) {
  while (end > limit) {
    const size_t begin = character_before(text, end);
    size_t at = begin;
    if (!is_white_space(next_character(text, at))) break;
    end = begin;
  }
  return std::max(end, limit);
}

size_t blanks_behind(std::string_view text, size_t end) {
  for (size_t at = end; at < text.size(); end = at)
    if (!is_white_space(next_character(text, at))) break;
  return end;
}

}  // namespace

void AddedTokenFinder::add(const std::string& content, AddedToken token) {
  if (content.empty()) return;
  uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<unsigned char>(c);
    auto& next = nodes_[node].next;
    const auto found = std::lower_bound(next.begin(), next.end(), std::pair{byte, uint32_t{0}});
    if (found != next.end() && found->first == byte) {
      node = found->second;
    } else {
      const auto made = static_cast<uint32_t>(nodes_.size());
      next.insert(found, {byte, made});
      nodes_.emplace_back();
      node = made;
    }
  }
  starts_[static_cast<unsigned char>(content[0])] = true;
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
}

void AddedTokenFinder::split(std::string_view from, const std::function<void(std::string_view)>& text,
                             const std::function<void(int32_t)>& token) const {
  size_t done = 0;
  for (size_t at = tokens_.empty() ? from.size() : 0; at < from.size();) {
    if (!starts_[static_cast<unsigned char>(from[at])]) {
      ++at;
      continue;
    }
    uint32_t node = 0;
    int32_t longest = -1;
    size_t stop = at;
    for (size_t k = at; k < from.size(); ++k) {
      const auto& next = nodes_[node].next;
      const auto byte = static_cast<unsigned char>(from[k]);
      const auto found = std::lower_bound(next.begin(), next.end(), std::pair{byte, uint32_t{0}});
      if (found == next.end() || found->first != byte) break;
      node = found->second;
      if (nodes_[node].token < 0) continue;
      longest = nodes_[node].token;
      stop = k + 1;
    }
    if (longest < 0) {
      ++at;
      continue;
    }
    const AddedToken& found = tokens_[static_cast<size_t>(longest)];
    size_t start = at;
    at = stop;
    if (found.single_word && (ends_with_word(from, start) || starts_with_word(from, stop))) continue;
    if (found.lstrip) start = blanks_before(from, start, done);
    if (found.rstrip) stop = blanks_behind(from, stop);
    if (done < start) text(from.substr(done, start - done));
    token(found.id);
    done = std::max(done, stop);
  }
  if (done < from.size()) text(from.substr(done));
}

bool AddedTokenFinder::touches_line_breaks() const {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return std::any_of(tokens_.begin(), tokens_.end(), [&](const AddedToken& token) {
    return token.content.find('\n') != std::string::npos || (token.rstrip && plain(token.content.back())) ||
           (token.lstrip && plain(token.content.front()));
  });
}

}  // namespace pscale
