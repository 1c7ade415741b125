#include "parallel/checkpoint/slab.h"

#include <gtest/gtest.h>

#include <random>

namespace pscale {
namespace {

/// Calls f(index in the whole, position in the slab) for each element of a slab, in row-major order.
template <class F>
void walk(const std::vector<int64_t>& shape, const Hyperslab& slab, F&& f) {
  const int64_t count = elements_of(slab);
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, index = 0, scale = 1;
    for (size_t dim = shape.size(); dim-- > 0;) {
      index += (slab.start[dim] + rest % slab.count[dim]) * scale;
      rest /= slab.count[dim];
      scale *= shape[dim];
    }
    f(index, i);
  }
}

struct Random {
  std::mt19937 generator{7};
  int64_t up_to(int64_t most) { return std::uniform_int_distribution<int64_t>(0, most)(generator); }
  Hyperslab slab(const std::vector<int64_t>& shape) {
    Hyperslab s;
    for (const int64_t size : shape) {
      const int64_t start = up_to(size - 1);
      s.start.push_back(up_to(3) == 0 ? 0 : start);
      s.count.push_back(up_to(3) == 0 ? size - s.start.back() : 1 + up_to(size - s.start.back() - 1));
    }
    return s;
  }
};

TEST(CopyRange, PutsEveryElementWhereItBelongs) {
  Random random;
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<int64_t> shape;
    for (int64_t dims = 1 + random.up_to(3); dims > 0; --dims) shape.push_back(1 + random.up_to(6));
    const Hyperslab from = random.slab(shape), to = random.slab(shape);
    std::vector<float> source(static_cast<size_t>(elements_of(from)));
    walk(shape, from, [&](int64_t index, int64_t i) { source[static_cast<size_t>(i)] = static_cast<float>(index); });
    std::vector<double> target(static_cast<size_t>(elements_of(to)), -1.0);
    // In parts, as a file is read.
    const int64_t count = elements_of(from), part = 1 + random.up_to(count);
    int64_t copied = 0;
    for (int64_t first = 0; first < count; first += part)
      copied += copy_range(from, first, std::min(part, count - first), source.data() + first, DType::float32, to,
                           target.data(), DType::float64);
    const auto common = intersection(from, to);
    EXPECT_EQ(copied, common ? elements_of(*common) : 0);
    int64_t filled = 0;
    walk(shape, to, [&](int64_t index, int64_t i) {
      const double value = target[static_cast<size_t>(i)];
      if (value >= 0) {
        ++filled;
        EXPECT_EQ(value, static_cast<double>(index));
      }
    });
    EXPECT_EQ(filled, copied);
  }
}

TEST(CopyRange, RoundsToBfloat16) {
  const Hyperslab all{{0}, {3}};
  const std::vector<float> source{1.0f, 1.00390625f, -3.1415927f};
  std::vector<bfloat16> target(3);
  EXPECT_EQ(copy_range(all, 0, 3, source.data(), DType::float32, all, target.data(), DType::bfloat16), 3);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(target[i].bits, bfloat16(source[i]).bits);
}

TEST(Hyperslabs, LieWithinSlices) {
  EXPECT_EQ(within({{4, 2}, {4, 3}}, {{1, 0}, {2, 3}}), (Hyperslab{{5, 2}, {2, 3}}));
  EXPECT_FALSE(intersection({{0}, {3}}, {{3}, {2}}));
  EXPECT_EQ(*intersection({{0, 0}, {3, 5}}, {{2, 1}, {4, 2}}), (Hyperslab{{2, 1}, {1, 2}}));
}

}  // namespace
}  // namespace pscale
