#include "data/sampler/blend.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"

namespace pscale {
namespace {

const std::vector<std::vector<double>> kWeights = {{1},
                                                   {1, 1},
                                                   {0.7, 0.3},
                                                   {0.999, 0.001},
                                                   {1, 1, 1},
                                                   {5, 3, 2},
                                                   {0.7, 0.2, 0.05, 0.05},
                                                   {1, 1, 1, 1, 1, 1, 1},
                                                   {1000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                                   {32, 16, 8, 4, 2, 1, 1},
                                                   {3.14159, 2.71828, 1.41421, 0.57721, 1.61803}};

TEST(BlendTest, EveryPrefixHasItsShares) {
  for (const auto& weights : kWeights) {
    const Blend blend(weights);
    std::vector<uint64_t> counts(weights.size(), 0);
    const double allowed = weights.size() <= 2 ? 0.5 : 2;
    for (uint64_t n = 0; n < 20000; ++n) {
      for (size_t s = 0; s < weights.size(); ++s)
        ASSERT_LE(std::abs(static_cast<double>(counts[s]) - static_cast<double>(n) * blend.weight(s)), allowed + 1e-9)
            << n << ", source " << s << " of " << weights.size();
      ++counts[blend[n].source];
    }
  }
}

TEST(BlendTest, RandomAccessIsWhatWalkingGives) {
  for (const auto& weights : kWeights) {
    const Blend blend(weights);
    std::vector<uint64_t> counts(weights.size(), 0);
    for (uint64_t n = 0; n < 5000; ++n) {
      const Blend::Place place = blend[n];
      ASSERT_EQ(place.sample, counts[place.source]) << n;
      for (size_t s = 0; s < weights.size(); ++s) ASSERT_EQ(blend.count(s, n), counts[s]) << n;
      ++counts[place.source];
    }
  }
}

TEST(BlendTest, FarAway) {
  for (const auto& weights : kWeights) {
    const Blend blend(weights);
    const uint64_t far = (uint64_t{1} << 40) + 12345;
    uint64_t sum = 0;
    for (size_t s = 0; s < weights.size(); ++s) {
      sum += blend.count(s, far);
      EXPECT_NEAR(static_cast<double>(blend.count(s, far)), static_cast<double>(far) * blend.weight(s), 2.01);
    }
    EXPECT_EQ(sum, far);
    const Blend::Place place = blend[far];
    EXPECT_EQ(place.sample, blend.count(place.source, far));
    EXPECT_EQ(blend.count(place.source, far + 1), place.sample + 1);
  }
}

TEST(BlendTest, OnlyRatiosCount) {
  const Blend a(std::vector<double>{0.75, 0.25}), b(std::vector<double>{3, 1});
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(a[i].source, b[i].source);
  EXPECT_THROW(Blend(std::vector<double>{1, 0}), InvariantError);
  EXPECT_THROW(Blend(std::vector<double>{}), InvariantError);
}

TEST(Blend, HugeAndTinyWeightsKeepTheirRatios) {
  const double huge[] = {1e308, 1e308}, tiny[] = {3e-300, 1e-300};
  EXPECT_EQ(Blend(huge).count(0, 1000), 500u);
  EXPECT_EQ(Blend(tiny).count(0, 1000), 750u);
  const double far[] = {1, 1e-12};
  EXPECT_EQ(Blend(far).count(0, 1000), 1000u);
  const double too_far[] = {1e-300, 1e-300, 1e200};
  EXPECT_THROW(Blend{too_far}, InvariantError);
}

}  // namespace
}  // namespace pscale
