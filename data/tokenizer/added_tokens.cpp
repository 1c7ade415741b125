#include "data/tokenizer/added_tokens.h"

#include <algorithm>
#include <cctype>

#include "data/tokenizer/unicode.h"

namespace pscale {
namespace {

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
  longest_ = std::max(longest_, content.size());
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
}

const AddedTokenFinder::Node* AddedTokenFinder::follow(uint32_t node, char c) const {
  const auto& next = nodes_[node].next;
  const auto byte = static_cast<unsigned char>(c);
  const auto found = std::lower_bound(next.begin(), next.end(), std::pair{byte, uint32_t{0}});
  return found != next.end() && found->first == byte ? &nodes_[found->second] : nullptr;
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
      const Node* next = follow(node, from[k]);
      if (!next) break;
      node = static_cast<uint32_t>(next - nodes_.data());
      if (next->token < 0) continue;
      longest = next->token;
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

bool AddedTokenFinder::spans(std::string_view text, size_t cut) const {
  for (size_t at = cut - std::min(cut, longest_); at <= cut && at < text.size(); ++at) {
    if (!starts_[static_cast<unsigned char>(text[at])]) continue;
    uint32_t node = 0;
    for (size_t k = at; k < text.size(); ++k) {
      const Node* next = follow(node, text[k]);
      if (!next) break;
      node = static_cast<uint32_t>(next - nodes_.data());
      if (next->token < 0) continue;
      const AddedToken& token = tokens_[static_cast<size_t>(next->token)];
      if ((at < cut && k + 1 > cut) || (k + 1 == cut && token.rstrip) || (at == cut && token.lstrip)) return true;
    }
  }
  return false;
}

}  // namespace pscale
