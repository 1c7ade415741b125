// Byte-pair encoding (Sennrich, Haddow & Birch 2016) of one word: while two neighbours have a merge, the pair whose
// merge has the lowest rank is merged, the leftmost first. Immutable once built; each thread brings its own scratch.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pscale {

class BytePairs {
 public:
  /// Memory of one thread.
  struct Scratch {
    struct Token {
      int32_t id;
      uint32_t begin;  // its first symbol
    };
    std::vector<int32_t> symbols;
    std::vector<Token> tokens, window, joined;
    std::vector<uint32_t> previous, next;
    struct Candidate {
      int32_t rank;
      uint32_t at;
      int32_t left, right;
    };
    std::vector<Candidate> heap;
  };
  static constexpr int32_t kNoToken = -1;

  /// What a byte is before any merge, or kNoToken.
  void set_byte(unsigned char byte, int32_t id) { bytes_[byte] = id; }
  int32_t of_byte(unsigned char byte) const { return bytes_[byte]; }
  /// What stands for bytes that are no token; `fused` where a run of them is one. Without it they are left out.
  void set_unknown(int32_t id, bool fused) {
    unknown_ = id;
    fused_ = fused;
  }
  void reserve(size_t merges);
  /// A pair that is given again takes the later rank.
  void add_merge(int32_t left, int32_t right, int32_t rank, int32_t result);

  /// Appends the tokens of a word. The time is linear in its length: a long word is encoded in windows, which are
  /// joined as described in byte_pairs.cpp.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

 private:
  struct Merge {
    uint64_t pair;
    int32_t rank, result;
  };
  const Merge* find(int32_t left, int32_t right) const;
  void grow(size_t slots);
  void encode_symbols(std::span<const int32_t> symbols, uint32_t first, Scratch& scratch,
                      std::vector<Scratch::Token>& out) const;
  void merge_few(std::vector<Scratch::Token>& tokens) const;
  void merge_many(std::vector<Scratch::Token>& tokens, Scratch& scratch) const;
  void join(std::vector<Scratch::Token>& left, const std::vector<Scratch::Token>& right, uint32_t end,
            Scratch& scratch) const;

  std::array<int32_t, 256> bytes_ = [] {
    std::array<int32_t, 256> none;
    none.fill(kNoToken);
    return none;
  }();
  int32_t unknown_ = kNoToken;
  bool fused_ = false;
  std::vector<Merge> merges_;  // open addressing; the size is a power of two
  std::vector<uint64_t> maybe_;  // a bit per hash of a pair: most pairs have no merge, and this fits into a cache
  size_t count_ = 0;
};

}  // namespace pscale
