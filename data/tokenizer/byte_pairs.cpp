#include "data/tokenizer/byte_pairs.h"

#include <algorithm>
#include <limits>

#include "core/base/errors.h"

// Long words. Write B(s) for the tokens of s. Merges never cross a border that is left in the end, and those on one
// side of it happen in the same order whatever the other side is. So any run of neighbours within B(s) is the encoding
// of its own text; and tokens of which each neighbouring pair is the encoding of its own text are together B of the
// whole: the first merge across a border would happen in the pair alone, too. A word is therefore encoded window by
// window. To join A = B(left) and C = B(right), the last k tokens of A and the first k of C are encoded anew. Where the
// first and the last token stay as they were, every pair of the result is one of A, of C or of the middle, so the
// result is B(left right). Otherwise k is doubled.

namespace pscale {
namespace {

constexpr uint64_t kEmpty = ~uint64_t{0};
constexpr size_t kWindow = 40;  // symbols
constexpr size_t kFew = 768;    // symbols for which looking at all ranks is quicker than a heap
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

uint64_t pair_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

uint64_t mixed(uint64_t pair) { return (pair ^ pair >> 29) * 0x9e3779b97f4a7c15u >> 20; }

}  // namespace

void BytePairs::reserve(size_t merges) {
  size_t slots = 64;
  while (slots < 2 * merges) slots *= 2;
  if (slots > merges_.size()) grow(slots);
}

void BytePairs::grow(size_t slots) {
  std::vector<Merge> old(slots, Merge{kEmpty, 0, 0});
  old.swap(merges_);
  maybe_.assign(slots / 16, 0);
  count_ = 0;
  for (const Merge& merge : old)
    if (merge.pair != kEmpty)
      add_merge(static_cast<int32_t>(merge.pair >> 32), static_cast<int32_t>(merge.pair & 0xffffffff), merge.rank,
                merge.result);
}

void BytePairs::add_merge(int32_t left, int32_t right, int32_t rank, int32_t result) {
  if (2 * (count_ + 1) > merges_.size()) grow(std::max<size_t>(64, 2 * merges_.size()));
  const uint64_t pair = pair_of(left, right);
  size_t slot = mixed(pair) & (merges_.size() - 1);
  while (merges_[slot].pair != kEmpty && merges_[slot].pair != pair) slot = (slot + 1) & (merges_.size() - 1);
  if (merges_[slot].pair == kEmpty) ++count_;
  merges_[slot] = {pair, rank, result};
  const uint64_t bit = mixed(pair) & (64 * maybe_.size() - 1);
  maybe_[bit / 64] |= uint64_t{1} << bit % 64;
}

const BytePairs::Merge* BytePairs::find(int32_t left, int32_t right) const {
  if (merges_.empty()) return nullptr;
  const uint64_t pair = pair_of(left, right), bit = mixed(pair) & (64 * maybe_.size() - 1);
  if (!(maybe_[bit / 64] >> bit % 64 & 1)) return nullptr;
  for (size_t slot = mixed(pair) & (merges_.size() - 1);; slot = (slot + 1) & (merges_.size() - 1)) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kEmpty) return nullptr;
  }
}

void BytePairs::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool after_unknown = false;
  for (const char c : word) {
    const int32_t id = bytes_[static_cast<unsigned char>(c)];
    if (id != kNoToken)
      symbols.push_back(id);
    else if (unknown_ != kNoToken && !(fused_ && after_unknown))
      symbols.push_back(unknown_);
    after_unknown = id == kNoToken;
  }
  PSCALE_CHECK(symbols.size() < std::numeric_limits<uint32_t>::max(), "a word of ", word.size(), " bytes");
  auto& tokens = scratch.tokens;
  tokens.clear();
  for (size_t at = 0; at < symbols.size(); at += kWindow) {
    const size_t end = std::min(symbols.size(), at + kWindow);
    auto& window = at == 0 ? tokens : scratch.window;
    encode_symbols(std::span(symbols).subspan(at, end - at), static_cast<uint32_t>(at), scratch, window);
    if (at > 0) join(tokens, window, static_cast<uint32_t>(end), scratch);
  }
  for (const auto& token : tokens) out.push_back(token.id);
}

void BytePairs::join(std::vector<Scratch::Token>& left, const std::vector<Scratch::Token>& right, uint32_t end,
                     Scratch& scratch) const {
  auto& middle = scratch.joined;
  for (size_t k = 2;; k *= 2) {
    const size_t from = left.size() - std::min(k, left.size()), to = std::min(k, right.size());
    const uint32_t begin = left[from].begin, stop = to < right.size() ? right[to].begin : end;
    encode_symbols(std::span(scratch.symbols).subspan(begin, stop - begin), begin, scratch, middle);
    const bool starts = from == 0 || middle.front().id == left[from].id;
    const bool ends = to == right.size() ||
                      (middle.back().id == right[to - 1].id && middle.back().begin == right[to - 1].begin);
    if (!starts || !ends) continue;
    left.resize(from);
    left.insert(left.end(), middle.begin(), middle.end());
    left.insert(left.end(), right.begin() + static_cast<std::ptrdiff_t>(to), right.end());
    return;
  }
}

void BytePairs::encode_symbols(std::span<const int32_t> symbols, uint32_t first, Scratch& scratch,
                               std::vector<Scratch::Token>& out) const {
  out.clear();
  for (const int32_t id : symbols) out.push_back({id, first++});
  if (out.size() < 2) return;
  if (out.size() <= kFew)
    merge_few(out);
  else
    merge_many(out, scratch);
}

void BytePairs::merge_few(std::vector<Scratch::Token>& tokens) const {
  int32_t ranks[kFew], results[kFew];  // of each token with the next
  size_t count = tokens.size();
  const auto look = [&](size_t at, const Scratch::Token* next) {
    const Merge* merge = next ? find(tokens[at].id, next->id) : nullptr;
    ranks[at] = merge ? merge->rank : kNoRank;
    results[at] = merge ? merge->result : kNoToken;
    return ranks[at];
  };
  const auto behind = [&](size_t at) { return at < count ? &tokens[at] : nullptr; };
  for (size_t at = 0; at < count; ++at) look(at, behind(at + 1));
  for (;;) {
    int32_t lowest = kNoRank;
    for (size_t at = 0; at < count; ++at) lowest = std::min(lowest, ranks[at]);
    if (lowest == kNoRank) break;
    // All places of that rank from left to right, until a merge makes a pair of a lower one, whose turn it then is.
    bool lower = false;
    size_t at = 0;
    while (ranks[at] != lowest) ++at;
    size_t kept = at;
    for (; at < count; ++kept) {
      if (lower || ranks[at] != lowest) {
        tokens[kept] = tokens[at];
        ranks[kept] = ranks[at];
        results[kept] = results[at];
        ++at;
        continue;
      }
      tokens[kept] = {results[at], tokens[at].begin};
      at += 2;
      lower = look(kept, behind(at)) < lowest;
      if (kept > 0) lower = look(kept - 1, &tokens[kept]) < lowest || lower;
    }
    count = kept;
  }
  tokens.resize(count);
}

void BytePairs::merge_many(std::vector<Scratch::Token>& tokens, Scratch& scratch) const {
  using Candidate = Scratch::Candidate;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  constexpr uint32_t kEnd = std::numeric_limits<uint32_t>::max();
  const auto count = static_cast<uint32_t>(tokens.size());
  auto &previous = scratch.previous, &next = scratch.next;
  previous.resize(count);
  next.resize(count);
  auto& heap = scratch.heap;
  heap.clear();
  const auto look = [&](uint32_t at) {
    if (at == kEnd || next[at] == kEnd) return false;
    const int32_t left = tokens[at].id, right = tokens[next[at]].id;
    const Merge* merge = find(left, right);
    if (merge) heap.push_back({merge->rank, at, left, right});
    return merge != nullptr;
  };
  for (uint32_t at = 0; at < count; ++at) {
    previous[at] = at == 0 ? kEnd : at - 1;
    next[at] = at + 1 == count ? kEnd : at + 1;
  }
  for (uint32_t at = 0; at < count; ++at) look(at);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    const Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    const uint32_t gone = next[best.at];
    // Merged away or changed since it was noted.
    if (tokens[best.at].id != best.left || gone == kEnd || tokens[gone].id != best.right) continue;
    tokens[best.at].id = find(best.left, best.right)->result;
    tokens[gone].id = kNoToken;
    next[best.at] = next[gone];
    if (next[gone] != kEnd) previous[next[gone]] = best.at;
    if (look(best.at)) std::push_heap(heap.begin(), heap.end(), later);
    if (look(previous[best.at])) std::push_heap(heap.begin(), heap.end(), later);
  }
  std::erase_if(tokens, [](const Scratch::Token& token) { return token.id == kNoToken; });
}

}  // namespace pscale
