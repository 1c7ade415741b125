#include "core/ops/adamw.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

const std::vector<DType> kTypes = {DType::float32, DType::float64};

struct Case {
  int64_t rows, columns, before,
      after;  // of the columns of wider matrices that weight, gradient and copy are views of
};
const std::vector<Case> kCases = {
    {1, 1, 0, 0}, {3, 7, 2, 1}, {5, 33, 0, 0}, {130, 131, 3, 4}, {1, 20001, 0, 0}};

AdamWStep step_of(int t) {
  AdamWStep s;
  s.rate = 0.03;
  s.beta1 = 0.9;
  s.beta2 = 0.95;
  s.eps = 1e-8;
  s.weight_decay = 0.1;
  s.correction1 = 1 - std::pow(s.beta1, t);
  s.correction2 = 1 - std::pow(s.beta2, t);
  s.gradient_scale = 0.7;
  return s;
}

TEST(AdamW, EqualsTheOracle) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kTypes)
      for (const Case& c : kCases)
        for (const bool copies : {false, true}) {
          const int64_t wide = c.before + c.columns + c.after, count = c.rows * c.columns;
          const Tensor matrix = wavy(*cpu, {c.rows, wide}, dtype, 0.7),
                       gradients = wavy(*cpu, {c.rows, wide}, dtype, 0.31);
          const Tensor rounded = wavy(*cpu, {c.rows, wide}, DType::bfloat16, 0.9);
          const std::vector<double> matrix_before = matrix.to_vector(), rounded_before = rounded.to_vector();
          const Tensor weight = matrix.columns(c.before, c.columns),
                       gradient = gradients.columns(c.before, c.columns);
          const Tensor first = Tensor::zeros(*cpu, {c.rows, c.columns}, dtype);
          const Tensor second = Tensor::zeros(*cpu, {c.rows, c.columns}, dtype);
          std::vector<double> w = weight.to_vector(), m(at(count)), v(at(count));
          const std::vector<double> g = gradient.to_vector();
          for (int t = 1; t <= 3; ++t) {
            const AdamWStep s = step_of(t);
            adamw_update(weight, first, second, gradient, s,
                         copies ? rounded.columns(c.before, c.columns) : Tensor());
            for (size_t i = 0; i < w.size(); ++i) {
              const double d = g[i] * s.gradient_scale;
              m[i] = s.beta1 * m[i] + (1 - s.beta1) * d;
              v[i] = s.beta2 * v[i] + (1 - s.beta2) * d * d;
              w[i] *= 1 - s.rate * s.weight_decay;
              w[i] -= s.rate * (m[i] / s.correction1) / (std::sqrt(v[i] / s.correction2) + s.eps);
            }
          }
          const double tolerance = dtype == DType::float64 ? 1e-13 : 2e-6;
          for (int64_t r = 0; r < c.rows; ++r)
            for (int64_t i = 0; i < wide; ++i) {
              const bool inside = i >= c.before && i < c.before + c.columns;
              const int64_t mine = r * c.columns + i - c.before, all = r * wide + i;
              if (!inside) {
                ASSERT_EQ(matrix.item(all), matrix_before[at(all)]) << "beside the view";
                ASSERT_EQ(rounded.item(all), rounded_before[at(all)]) << "beside the view";
                continue;
              }
              ASSERT_NEAR(matrix.item(all), w[at(mine)], tolerance) << cpu->name() << " " << name_of(dtype);
              ASSERT_NEAR(first.item(mine), m[at(mine)], tolerance) << cpu->name();
              ASSERT_NEAR(second.item(mine), v[at(mine)], tolerance) << cpu->name();
              const double exact = static_cast<float>(bfloat16(static_cast<float>(matrix.item(all))));
              ASSERT_EQ(rounded.item(all), copies ? exact : rounded_before[at(all)]) << cpu->name();
            }
        }
}

TEST(AdamW, AZeroGradientMovesNothingButDecay) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kTypes) {
      const Tensor weight = wavy(*cpu, {3, 21}, dtype, 0.7), zero = Tensor::zeros(*cpu, {3, 21}, dtype);
      const std::vector<double> before = weight.to_vector();
      const Tensor first = Tensor::zeros(*cpu, {3, 21}, dtype), second = Tensor::zeros(*cpu, {3, 21}, dtype);
      AdamWStep s = step_of(1);
      s.weight_decay = 0;
      adamw_update(weight, first, second, zero, s);
      EXPECT_EQ(weight.to_vector(), before) << cpu->name() << " " << name_of(dtype);
    }
}

TEST(AdamW, GivesTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  std::vector<double> once;
  for (int run = 0; run < 2; ++run) {
    const Tensor weight = wavy(cpu, {130, 257}, DType::float32, 0.7),
                 gradient = wavy(cpu, {130, 257}, DType::float32, 0.3);
    const Tensor first = Tensor::zeros(cpu, {130, 257}, DType::float32),
                 second = Tensor::zeros(cpu, {130, 257}, DType::float32);
    adamw_update(weight, first, second, gradient, step_of(1));
    if (run == 0) once = weight.to_vector();
    EXPECT_EQ(once, weight.to_vector());
  }
}

TEST(SumOfSquares, EqualsThePlainSum) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Case& c : kCases) {
        const Tensor x =
            wavy(*cpu, {c.rows, c.before + c.columns + c.after}, dtype, 0.7).columns(c.before, c.columns);
        double expected = 0;
        for (const double value : x.to_vector()) expected += value * value;
        EXPECT_NEAR(sum_of_squares(x), expected, 1e-12 * expected) << cpu->name() << " " << name_of(dtype);
      }
}

TEST(SumOfSquares, HoldsWhatFloatCannot) {
  const Device cpu = Device::cpu();
  const Tensor x = Tensor::of(cpu, {2}, DType::float32, {1e30, 1e30});
  EXPECT_NEAR(sum_of_squares(x) / 2e60, 1, 1e-6);
}

TEST(SumOfSquares, IsNotFiniteWhereAnElementIsNot) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const double bad : {inf, -inf, nan})
        for (const int64_t place : {int64_t{0}, int64_t{31}, int64_t{8192}, int64_t{19999}}) {
          std::vector<double> values = testing::waves(20000, 0.7);
          values[at(place)] = bad;
          EXPECT_FALSE(std::isfinite(sum_of_squares(Tensor::of(*cpu, {20000}, dtype, values))))
              << cpu->name() << " " << bad;
        }
}

}  // namespace
}  // namespace pscale
