#include "core/ops/swiglu.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::kFloats;
using testing::wavy;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double silu_of(double x) { return x * sigmoid(x); }
double slope_of(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

struct Size {
  int64_t rows, columns;
};
const std::vector<Size> kSizes = {{1, 1}, {3, 7}, {5, 33}, {130, 131}};  // the last is split among threads

TEST(Swiglu, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kFloats)
      for (const auto [rows, columns] : kSizes) {
        const Tensor gate_up = wavy(*cpu, {rows, 2 * columns}, dtype, 0.7, 3),
                     dout = wavy(*cpu, {rows, columns}, dtype, 1.1);
        const Tensor out = Tensor::empty_like(dout), dgate_up = Tensor::empty_like(gate_up);
        swiglu_forward(gate_up, out);
        swiglu_backward(gate_up, dout, dgate_up);
        const double scale = 10 * testing::tolerance(dtype);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < columns; ++c) {
            const int64_t gate = r * 2 * columns + c, up = gate + columns, i = r * columns + c;
            const double g = gate_up.item(gate), u = gate_up.item(up), d = dout.item(i);
            ASSERT_NEAR(out.item(i), silu_of(g) * u, scale) << cpu->name() << " " << name_of(dtype);
            ASSERT_NEAR(dgate_up.item(gate), d * u * slope_of(g), scale)
                << cpu->name() << " " << name_of(dtype);
            ASSERT_NEAR(dgate_up.item(up), d * silu_of(g), scale) << cpu->name() << " " << name_of(dtype);
          }
      }
}

TEST(Swiglu, TheGradientMayOverwriteItsInput) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kFloats) {
      const Tensor gate_up = wavy(*cpu, {37, 2 * 45}, dtype, 0.7, 3), dout = wavy(*cpu, {37, 45}, dtype, 1.1);
      const Tensor apart = Tensor::empty_like(gate_up);
      swiglu_backward(gate_up, dout, apart);
      swiglu_backward(gate_up, dout, gate_up);
      EXPECT_EQ(gate_up.to_vector(), apart.to_vector()) << cpu->name() << " " << name_of(dtype);
    }
}

TEST(Silu, EqualsThePlainFormula) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kFloats)
      for (const int64_t count : {1, 31, 17000}) {
        const Var x = leaf(wavy(*cpu, {count}, dtype, 0.37, 9));
        Tape tape;
        const Var y = silu(tape, x);
        const Tensor dy = wavy(*cpu, {count}, dtype, 1.7);
        const std::vector<double> seed = dy.to_vector();
        tape.backward(y, dy);
        // Relative, so that the far ends of the exponential are looked at, too.
        const double relative = dtype == DType::float64 ? 1e-14 : dtype == DType::float32 ? 1e-6 : 8e-3;
        for (int64_t i = 0; i < count; ++i) {
          const double v = x.value().item(i), expected = silu_of(v),
                       slope = seed[testing::at(i)] * slope_of(v);
          ASSERT_NEAR(y.value().item(i), expected, relative * std::abs(expected))
              << cpu->name() << " at " << v;
          ASSERT_NEAR(x.gradient()->value().item(i), slope, relative * (1 + std::abs(slope)))
              << cpu->name() << " at " << v;
        }
      }
}

TEST(Silu, LargeAndSpecialValues) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : kFloats) {
      std::vector<double> values(40, 0.25);  // enough for vector code
      values[1] = nan;
      values[20] = 1000;
      values[21] = -1000;
      values[22] = inf;
      values[39] = nan;
      Tape off(Tape::Mode::off);
      const Tensor y = silu(off, constant(Tensor::of(*cpu, {40}, dtype, values))).value();
      EXPECT_TRUE(std::isnan(y.item(1)) && std::isnan(y.item(39))) << cpu->name() << " " << name_of(dtype);
      EXPECT_EQ(y.item(20), 1000) << cpu->name();
      EXPECT_NEAR(y.item(21), 0, 1e-30) << cpu->name();
      EXPECT_EQ(y.item(22), inf) << cpu->name();
      EXPECT_NEAR(y.item(0), silu_of(0.25), 1e-3) << cpu->name();
    }
}

TEST(Silu, GradientEqualsFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    const auto f = [](Tape& tape, const std::vector<Var>& in) { return silu(tape, in[0]); };
    EXPECT_EQ(check_gradients(f, {wavy(*cpu, {5, 7}, DType::float64, 0.9, 2)}), "") << cpu->name();
  }
}

TEST(Swiglu, GivesTheSameBitsTwice) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Tensor gate_up = wavy(*cpu, {300, 2 * 129}, DType::float32, 0.7, 3),
                 dout = wavy(*cpu, {300, 129}, DType::float32, 1.1);
    std::vector<double> first;
    for (int run = 0; run < 2; ++run) {
      const Tensor out = Tensor::empty_like(dout), dgate_up = Tensor::empty_like(gate_up);
      swiglu_forward(gate_up, out);
      swiglu_backward(gate_up, dout, dgate_up);
      std::vector<double> all = out.to_vector();
      const std::vector<double> rest = dgate_up.to_vector();
      all.insert(all.end(), rest.begin(), rest.end());
      if (run == 0) first = all;
      EXPECT_EQ(first, all) << cpu->name();
    }
  }
}

}  // namespace
}  // namespace pscale
