#include "data/sampler/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <vector>

#include "core/base/errors.h"

namespace pscale {
namespace {

std::vector<uint64_t> order(uint64_t n, uint64_t seed, uint64_t epoch) {
  const Permutation permutation(n, seed, epoch);
  std::vector<uint64_t> all;
  for (uint64_t i = 0; i < n; ++i) all.push_back(permutation[i]);
  return all;
}

TEST(Permutation, EveryNumberOnce) {
  for (const uint64_t n : {1, 2, 3, 4, 5, 7, 16, 17, 63, 64, 65, 1000, 4095, 4096, 4097, 100003}) {
    for (const uint64_t seed : {0, 42}) {
      std::vector<uint64_t> all = order(n, seed, 3);
      std::sort(all.begin(), all.end());
      for (uint64_t i = 0; i < n; ++i) ASSERT_EQ(all[i], i) << n;
    }
  }
}

TEST(Permutation, LargeNumbersWork) {
  const uint64_t n = (uint64_t{1} << 40) + 12345;
  const Permutation permutation(n, 1, 0);
  std::set<uint64_t> seen;
  double sum = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint64_t x = permutation[n - 1 - i];
    EXPECT_LT(x, n);
    seen.insert(x);
    sum += static_cast<double>(x) / static_cast<double>(n);
  }
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_NEAR(sum / 1000, 0.5, 0.05);
  EXPECT_LT(Permutation(uint64_t{1} << 62, 1, 0)[5], uint64_t{1} << 62);
}

TEST(Permutation, SeedAndEpochChangeTheOrder) {
  const auto base = order(1000, 42, 0);
  EXPECT_EQ(order(1000, 42, 0), base);
  for (const auto& other : {order(1000, 43, 0), order(1000, 42, 1)}) {
    int same = 0;
    for (size_t i = 0; i < 1000; ++i) same += base[i] == other[i];
    EXPECT_LT(same, 10);  // 1 expected
  }
}

TEST(Permutation, OrderLooksRandom) {
  const uint64_t n = 10007;
  const auto all = order(n, 7, 0);
  // Neighbours of a random order are n / 3 apart on average, and half of the steps go up.
  double distance = 0;
  int up = 0;
  for (size_t i = 1; i < n; ++i) {
    distance += std::abs(static_cast<double>(all[i]) - static_cast<double>(all[i - 1]));
    up += all[i] > all[i - 1];
  }
  EXPECT_NEAR(distance / static_cast<double>(n) / static_cast<double>(n), 1.0 / 3, 0.01);
  EXPECT_NEAR(up / static_cast<double>(n), 0.5, 0.02);
  // Neither does place tell number.
  double product = 0;
  const double mean = (static_cast<double>(n) - 1) / 2;
  for (size_t i = 0; i < n; ++i)
    product += (static_cast<double>(i) - mean) * (static_cast<double>(all[i]) - mean);
  const double variance = (static_cast<double>(n) * static_cast<double>(n) - 1) / 12;
  EXPECT_NEAR(product / static_cast<double>(n) / variance, 0, 0.04);
}

TEST(Permutation, SmallOrdersAreFair) {
  // Over many epochs each number comes first about equally often.
  for (const uint64_t n : {2, 3, 5, 6, 10}) {
    const int epochs = 20000;
    std::vector<int> first(n);
    for (int epoch = 0; epoch < epochs; ++epoch) ++first[Permutation(n, 42, static_cast<uint64_t>(epoch))[0]];
    const double expected = epochs / static_cast<double>(n);
    for (const int count : first) EXPECT_NEAR(count, expected, 5 * std::sqrt(expected)) << n;
  }
}

TEST(Permutation, RefusesNothingToOrder) {
  EXPECT_THROW(Permutation(0, 1, 1), InvariantError);
  EXPECT_THROW(Permutation(3, 1, 1)[3], InvariantError);
}

}  // namespace
}  // namespace pscale
