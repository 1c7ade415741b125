#include "data/tokenizer/byte_pairs.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <string>
#include <utility>

namespace pscale {
namespace {

using Ids = std::vector<int32_t>;

/// Byte-pair encoding as its authors describe it: look at all pairs, merge the first of the lowest rank, start again.
struct Slow {
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> merges;  // to rank and result

  Ids encode(const std::string& word) const {
    Ids ids(word.begin(), word.end());
    for (;;) {
      size_t at = ids.size();
      int32_t lowest = std::numeric_limits<int32_t>::max(), result = 0;
      for (size_t k = 0; k + 1 < ids.size(); ++k) {
        const auto merge = merges.find({ids[k], ids[k + 1]});
        if (merge == merges.end() || merge->second.first >= lowest) continue;
        std::tie(lowest, result) = merge->second;
        at = k;
      }
      if (at == ids.size()) return ids;
      ids[at] = result;
      ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    }
  }
};

struct Both {
  Slow slow;
  BytePairs fast;

  explicit Both(const std::string& alphabet) {
    for (const char c : alphabet) fast.set_byte(static_cast<unsigned char>(c), c);
  }
  void add(int32_t left, int32_t right, int32_t rank, int32_t result) {
    slow.merges[{left, right}] = {rank, result};
    fast.add_merge(left, right, rank, result);
  }
  Ids encode(const std::string& word) const {
    BytePairs::Scratch scratch;
    Ids ids;
    fast.encode(word, scratch, ids);
    return ids;
  }
};

TEST(BytePairs, FindsWhatTheDefinitionFinds) {
  std::mt19937 random(5);
  const std::string alphabet = "abc";
  for (int round = 0; round < 60; ++round) {
    Both both(alphabet);
    Ids tokens(alphabet.begin(), alphabet.end());
    const int merges = 1 + static_cast<int>(random() % 40);
    for (int rank = 0; rank < merges; ++rank) {
      const int32_t left = tokens[random() % tokens.size()], right = tokens[random() % tokens.size()];
      if (both.slow.merges.contains({left, right})) continue;
      both.add(left, right, rank, 1000 + rank);
      tokens.push_back(1000 + rank);
    }
    // Lengths around those at which the method changes, and words that repeat themselves.
    for (const size_t length : {1u, 2u, 7u, 63u, 64u, 65u, 127u, 129u, 200u, 300u, 700u}) {
      std::string word, period;
      for (size_t k = 0; k < length; ++k) word += alphabet[random() % alphabet.size()];
      ASSERT_EQ(both.encode(word), both.slow.encode(word)) << "round " << round << ": " << word;
      period = word.substr(0, 1 + random() % 3);
      while (period.size() < length) period += period;
      ASSERT_EQ(both.encode(period), both.slow.encode(period)) << "round " << round << ": " << period;
    }
  }
}

TEST(BytePairs, TheTimeOfALongWordIsLinear) {
  Both both("a");
  for (int32_t rank = 0, left = 'a'; rank < 10; ++rank) {
    both.add(left, left, rank, 1000 + rank);
    left = 1000 + rank;
  }
  const auto seconds = [&](size_t length) {
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = both.encode(std::string(length, 'a'));
    EXPECT_EQ(ids.size(), length / 1024);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds(1 << 14);
  // 32 times the length; a quadratic method would take 1000 times as long.
  EXPECT_LT(seconds(1 << 19), 100 * std::max(seconds(1 << 14), 1e-4));
}

TEST(BytePairs, BytesThatAreNoTokenAreLeftOutOrUnknown) {
  Both both("ab");
  both.add('a', 'b', 0, 1000);
  EXPECT_EQ(both.encode("a??b"), (Ids{1000}));
  both.fast.set_unknown(7, false);
  EXPECT_EQ(both.encode("a??b"), (Ids{'a', 7, 7, 'b'}));
  both.fast.set_unknown(7, true);
  EXPECT_EQ(both.encode("a??b?"), (Ids{'a', 7, 'b', 7}));
}

TEST(BytePairs, OfEqualPairsTheLaterRankCounts) {
  Both both("abc");
  both.add('a', 'b', 0, 1000);
  both.add('b', 'c', 1, 1001);
  EXPECT_EQ(both.encode("abc"), (Ids{1000, 'c'}));
  both.add('a', 'b', 2, 1000);
  EXPECT_EQ(both.encode("abc"), (Ids{'a', 1001}));
}

}  // namespace
}  // namespace pscale
