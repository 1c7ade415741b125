#include "core/ops/matmul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/core/devices.h"

namespace pscale {
namespace {

std::vector<double> waves(int64_t count, double step) {
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(step * static_cast<double>(i) + 0.2);
  return values;
}

TEST(Matmul, EqualsPlainLoopsForEveryTransposeTypeAndStride) {
  struct Types {
    DType in, out;
    double tolerance;
  };
  const int64_t m = 13, n = 9, k = 21;
  for (const auto& cpu : testing::cpu_devices())
    for (const Types types : {Types{DType::float32, DType::float32, 1e-5}, {DType::float64, DType::float64, 1e-12},
                              {DType::bfloat16, DType::bfloat16, 5e-2}, {DType::bfloat16, DType::float32, 1e-4}})
      for (int flags = 0; flags < 16; ++flags) {
        const bool ta = flags & 1, tb = flags & 2, add = flags & 4, bias = (flags & 8) && !add;
        // All matrices are views into wider ones.
        const Tensor a = Tensor::of(*cpu, {ta ? k : m, (ta ? m : k) + 3}, types.in, waves((ta ? k : m) * ((ta ? m : k) + 3), 0.7))
                             .columns(2, ta ? m : k);
        const Tensor b = Tensor::of(*cpu, {tb ? n : k, (tb ? k : n) + 1}, types.in, waves((tb ? n : k) * ((tb ? k : n) + 1), 1.1))
                             .columns(1, tb ? k : n);
        const Tensor wide = Tensor::of(*cpu, {m, n + 2}, types.out, waves(m * (n + 2), 0.3));
        const std::vector<double> before = wide.to_vector();
        const Tensor c = wide.columns(1, n);
        const Tensor d = bias ? Tensor::of(*cpu, {n}, types.in, waves(n, 2.0)) : Tensor();
        matmul(a, ta ? Transpose::yes : Transpose::no, b, tb ? Transpose::yes : Transpose::no, c, add, d);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = add ? before[static_cast<size_t>(i * (n + 2) + 1 + j)] : 0;
            if (bias) sum += d.item(j);
            for (int64_t l = 0; l < k; ++l) sum += a.item(ta ? l * m + i : i * k + l) * b.item(tb ? j * k + l : l * n + j);
            ASSERT_NEAR(c.item(i * n + j), sum, types.tolerance) << cpu->name() << " flags " << flags;
          }
          ASSERT_EQ(wide.item(i * (n + 2)), before[static_cast<size_t>(i * (n + 2))]);  // the rest is untouched
        }
      }
}

TEST(Matmul, RefusesShapesThatDoNotFit) {
  const Device cpu = Device::cpu();
  const Tensor a = Tensor::zeros(cpu, {2, 3}, DType::float32), b = Tensor::zeros(cpu, {2, 3}, DType::float32);
  const Tensor c = Tensor::zeros(cpu, {2, 2}, DType::float32);
  EXPECT_THROW(matmul(a, Transpose::no, b, Transpose::no, c, false), InvariantError);
  EXPECT_NO_THROW(matmul(a, Transpose::no, b, Transpose::yes, c, false));
}

}  // namespace
}  // namespace pscale
