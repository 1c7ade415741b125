#include "core/ops/add.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "core/ops/bias.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

TEST(Add, IsTheSumOverTheBranch) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t rows : {1, 3, 301})
        for (const int64_t columns : {1, 7, 130}) {
          const Tensor residual = wavy(*cpu, {rows, columns}, dtype, 0.7),
                       branch = wavy(*cpu, {rows, columns}, dtype, 1.3);
          const std::vector<double> a = residual.to_vector(), b = branch.to_vector();
          Tape off(Tape::Mode::off);
          const Tensor y = add_into(off, constant(residual), constant(branch)).value();
          EXPECT_TRUE(y.shares_memory_with(branch));
          EXPECT_EQ(residual.to_vector(), a);
          for (int64_t i = 0; i < y.elements(); ++i)
            ASSERT_NEAR(y.item(i), a[at(i)] + b[at(i)], testing::tolerance(dtype))
                << cpu->name() << " " << name_of(dtype);
        }
}

TEST(Add, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    // Both inputs get the same gradient, and the residual is used again: neither may see the other's
    // additions.
    const auto f = [](Tape& tape, const std::vector<Var>& in) {
      Var branch = in[1];
      const Var once = add_into(tape, in[0], std::move(branch));
      Var fresh = in[2];
      return add_into(tape, in[0], add_bias(tape, add_into(tape, once, std::move(fresh)), in[3]));
    };
    const auto x = [&](double step) { return wavy(*cpu, {3, 5}, DType::float64, step); };
    EXPECT_EQ(check_gradients(f, {x(0.7), x(1.3), x(0.3), wavy(*cpu, {5}, DType::float64, 0.9)}), "")
        << cpu->name();
  }
}

TEST(Add, OneInputMayNeedNoGradient) {
  const Device cpu = Device::cpu();
  const Var residual = leaf(wavy(cpu, {3, 5}, DType::float32, 0.7));
  Tape tape;
  tape.backward(add_into(tape, residual, constant(wavy(cpu, {3, 5}, DType::float32, 1.3))));
  for (const double g : residual.gradient()->value().to_vector()) EXPECT_EQ(g, 1);
}

}  // namespace
}  // namespace pscale
