#include "core/ops/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"

namespace pscale {
namespace {

std::vector<double> waves(int64_t count, double step) {
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(step * static_cast<double>(i) + 0.5) + 0.1;
  return values;
}

TEST(RmsNorm, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float64})
      for (const int64_t columns : {1, 7, 64, 130}) {
        const int64_t rows = 300;
        const Tensor x = Tensor::of(*cpu, {rows, columns}, dtype, waves(rows * columns, 0.7));
        const Tensor w = Tensor::of(*cpu, {columns}, dtype, waves(columns, 1.3));
        Tape off(Tape::Mode::off);
        const Tensor y = rms_norm(off, constant(x), constant(w), 1e-5).value();
        const double tolerance = dtype == DType::float64 ? 1e-12 : dtype == DType::float32 ? 1e-5 : 2e-2;
        for (int64_t r = 0; r < rows; r += 17) {
          double squares = 0;
          for (int64_t c = 0; c < columns; ++c) squares += std::pow(x.item(r * columns + c), 2);
          const double s = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
          for (int64_t c = 0; c < columns; ++c)
            ASSERT_NEAR(y.item(r * columns + c), w.item(c) * x.item(r * columns + c) * s, tolerance) << cpu->name();
        }
      }
}

TEST(RmsNorm, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Tensor x = Tensor::of(*cpu, {5, 6}, DType::float64, waves(30, 0.7));
    const Tensor w = Tensor::of(*cpu, {6}, DType::float64, waves(6, 1.3));
    const auto f = [](Tape& tape, const std::vector<Var>& in) { return rms_norm(tape, in[0], in[1], 1e-5); };
    EXPECT_EQ(check_gradients(f, {x, w}), "") << cpu->name();
    const auto twice = [](Tape& tape, const std::vector<Var>& in) {
      return rms_norm(tape, rms_norm(tape, in[0], in[1], 1e-5), in[1], 1e-5);  // dw is added to, too
    };
    EXPECT_EQ(check_gradients(twice, {x, w}), "") << cpu->name();
  }
}

TEST(RmsNorm, GivesTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    const Var x = leaf(Tensor::of(cpu, {512, 64}, DType::float32, waves(512 * 64, 0.7)));
    const Var w = leaf(Tensor::of(cpu, {64}, DType::float32, waves(64, 1.3)));
    Tape tape;
    tape.backward(rms_norm(tape, x, w, 1e-5));
    const std::vector<double> gradient = w.gradient()->value().to_vector();
    if (run == 0) first = gradient;
    EXPECT_EQ(first, gradient);
  }
}

}  // namespace
}  // namespace pscale
