#include "core/ops/bias.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

struct Size {
  int64_t rows, columns;
};
const std::vector<Size> kSizes = {{1, 1}, {3, 7}, {5, 33}, {301, 131}};

TEST(Bias, IsAddedToEveryRow) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const auto [rows, columns] : kSizes) {
        const Tensor x = wavy(*cpu, {rows, columns}, dtype, 0.7), bias = wavy(*cpu, {columns}, dtype, 1.3);
        const std::vector<double> before = x.to_vector();
        Tape off(Tape::Mode::off);
        const Tensor y = add_bias(off, constant(x), constant(bias)).value();
        EXPECT_TRUE(y.shares_memory_with(x));
        for (int64_t i = 0; i < y.elements(); ++i)
          ASSERT_NEAR(y.item(i), before[at(i)] + bias.item(i % columns), testing::tolerance(dtype))
              << cpu->name();
      }
}

TEST(Bias, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    const auto f = [](Tape& tape, const std::vector<Var>& in) {
      Var fresh = in[0];  // of this evaluation alone
      return add_bias(tape, add_bias(tape, std::move(fresh), in[1]),
                      in[1]);  // the bias's gradient is added to, too
    };
    EXPECT_EQ(check_gradients(
                  f, {wavy(*cpu, {2, 5, 7}, DType::float64, 0.7), wavy(*cpu, {7}, DType::float64, 1.3)}),
              "")
        << cpu->name();
  }
}

TEST(ColumnSums, EqualThePlainSums) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const DType sums_dtype : testing::kFloats)
        for (const auto [rows, columns] : kSizes)
          for (const bool accumulate : {false, true}) {
            const Tensor x = wavy(*cpu, {rows, columns + 3}, dtype, 0.7).columns(2, columns);  // strided
            const Tensor sums = wavy(*cpu, {columns}, sums_dtype, 1.3);
            std::vector<double> expected = sums.to_vector();
            for (int64_t c = 0; c < columns; ++c) {
              if (!accumulate) expected[at(c)] = 0;
              for (int64_t r = 0; r < rows; ++r) expected[at(c)] += x.item(r * columns + c);
            }
            column_sums(x, sums, accumulate);
            const bool exact = dtype == DType::float64 && sums_dtype == DType::float64;
            const double relative = exact ? 1e-13 : sums_dtype == DType::bfloat16 ? 8e-3 : 1e-5;
            for (int64_t c = 0; c < columns; ++c)
              ASSERT_NEAR(sums.item(c), expected[at(c)], relative * (10 + std::abs(expected[at(c)])))
                  << cpu->name() << " " << name_of(dtype) << " into " << name_of(sums_dtype);
          }
}

TEST(ColumnSums, GiveTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  const Tensor x = wavy(cpu, {501, 131}, DType::float32, 0.7);
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    const Tensor sums = Tensor::empty(cpu, {131}, DType::float32);
    column_sums(x, sums, false);
    if (run == 0) first = sums.to_vector();
    EXPECT_EQ(first, sums.to_vector());
  }
}

}  // namespace
}  // namespace pscale
