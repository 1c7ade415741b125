#include "core/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace pscale {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers of philox4x32-10 published with the paper (Random123, kat_vectors).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, IsAFunctionOfSeedNameAndElement) {
  const RandomStream a(42, "model.norm.weight"), same(42, "model.norm.weight");
  const RandomStream other_name(42, "model.norm.bias"), other_seed(43, "model.norm.weight"),
      high_seed(42 + (uint64_t{1} << 32), "model.norm.weight");
  EXPECT_EQ(a.normal(1000), same.normal(1000));
  EXPECT_EQ(a.bits(uint64_t{1} << 40), same.bits(uint64_t{1} << 40));
  std::set<uint64_t> seen;
  for (const RandomStream* stream : {&a, &other_name, &other_seed, &high_seed})
    for (const uint64_t element : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, uint64_t{1} << 40})
      EXPECT_TRUE(seen.insert(stream->bits(element)).second) << "two numbers are equal";
}

// These values must never change: they are the initial weights of every model.
TEST(RandomStream, StaysTheSame) {
  const RandomStream stream(42, "model.embed_tokens.weight");
  EXPECT_EQ(stream.bits(0), 1068821676735726240u);
  EXPECT_EQ(stream.bits(123456789012), 236200333442883321u);
  EXPECT_FLOAT_EQ(stream.normal(0), -2.0979321f);
  EXPECT_FLOAT_EQ(stream.normal(7), 0.0496831648f);
}

TEST(RandomStream, UniformNumbersFillTheUnitInterval) {
  const RandomStream stream(1, "u");
  constexpr int n = 200000, cells = 64;
  std::vector<int> count(cells);
  for (int i = 0; i < n; ++i) {
    const double u = stream.uniform(static_cast<uint64_t>(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++count[static_cast<size_t>(u * cells)];
  }
  double chi_squared = 0;
  for (const int c : count) chi_squared += std::pow(c - double{n} / cells, 2) / (double{n} / cells);
  // 63 degrees of freedom: five deviations from the mean.
  EXPECT_LT(std::abs(chi_squared - 63), 5 * std::sqrt(2 * 63.0));
}

TEST(RandomStream, NormalNumbersHaveTheRightMomentsAndTails) {
  const RandomStream stream(7, "n");
  constexpr int n = 400000;
  double sum = 0, square = 0, cube = 0, fourth = 0, neighbours = 0, last = 0;
  int beyond_two = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.normal(static_cast<uint64_t>(i));
    sum += x, square += x * x, cube += x * x * x, fourth += x * x * x * x, neighbours += x * last;
    beyond_two += std::abs(x) > 2;
    last = x;
  }
  const double error = 1 / std::sqrt(double{n});
  EXPECT_NEAR(sum / n, 0, 5 * error);
  EXPECT_NEAR(square / n, 1, 5 * std::sqrt(2.0) * error);
  EXPECT_NEAR(cube / n, 0, 5 * std::sqrt(15.0) * error);
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96.0) * error);
  EXPECT_NEAR(neighbours / n, 0, 5 * error);
  EXPECT_NEAR(static_cast<double>(beyond_two) / n, 0.0455, 5 * std::sqrt(0.0455) * error);
}

}  // namespace
}  // namespace pscale
