#include "core/ops/rotary.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

struct Case {
  int64_t rows, first_column, heads, head_dim, columns;
  RotaryLayout layout;
};
const std::vector<Case> kCases = {
    {1, 0, 1, 2, 2, RotaryLayout::half},          {7, 0, 3, 8, 24, RotaryLayout::half},
    {200, 5, 3, 34, 120, RotaryLayout::half},     {1, 0, 1, 2, 2, RotaryLayout::interleaved},
    {7, 3, 2, 12, 30, RotaryLayout::interleaved}, {200, 0, 2, 64, 128, RotaryLayout::interleaved},
    {5, 2, 2, 6, 14, RotaryLayout::interleaved},  // an odd half: a pair of angles spans both halves
};
constexpr int64_t kPositions = 11;

int32_t position(int64_t row) { return static_cast<int32_t>(row * 7 % kPositions); }
double angle(int64_t pos, int64_t i, int64_t head_dim) {
  return static_cast<double>(pos) *
         std::pow(100.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
}

RotaryTable table_of(const Device& cpu, DType dtype, int64_t head_dim) {
  std::vector<double> cos, sin;
  for (int64_t p = 0; p < kPositions; ++p)
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      cos.push_back(std::cos(angle(p, i, head_dim)));
      sin.push_back(std::sin(angle(p, i, head_dim)));
    }
  const DType angles = dtype == DType::float64 ? DType::float64 : DType::float32;
  return {Tensor::of(cpu, {kPositions, head_dim / 2}, angles, cos),
          Tensor::of(cpu, {kPositions, head_dim / 2}, angles, sin)};
}

Tensor index_of(const Device& cpu, int64_t rows) {
  std::vector<double> index;
  for (int64_t r = 0; r < rows; ++r) index.push_back(position(r));
  return Tensor::of(cpu, {rows}, DType::int32, index);
}

/// x * cat(cos) + cat(-second half, first half) * cat(sin), the angles doubled as the layout says.
std::vector<double> rotated(std::vector<double> x, const Case& c) {
  const std::vector<double> from = x;
  for (int64_t r = 0; r < c.rows; ++r)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t d = 0; d < c.head_dim; ++d) {
        const int64_t half = c.head_dim / 2, head = r * c.columns + c.first_column + h * c.head_dim;
        const double a = angle(position(r), c.layout == RotaryLayout::half ? d % half : d / 2, c.head_dim);
        const double other = d < half ? -from[at(head + d + half)] : from[at(head + d - half)];
        x[at(head + d)] = from[at(head + d)] * std::cos(a) + other * std::sin(a);
      }
  return x;
}

TEST(Rotary, EqualsTheOracle) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Case& c : kCases) {
        Tensor x = wavy(*cpu, {c.rows, c.columns}, dtype, 0.7);
        const std::vector<double> expected = rotated(x.to_vector(), c);
        Tape off(Tape::Mode::off);
        const Tensor y = rotary_in_place(off, constant(x), {c.first_column, c.heads, c.head_dim, c.layout},
                                         table_of(*cpu, dtype, c.head_dim), index_of(*cpu, c.rows))
                             .value();
        EXPECT_TRUE(y.shares_memory_with(x));
        for (int64_t i = 0; i < y.elements(); ++i)
          ASSERT_NEAR(y.item(i), expected[at(i)], testing::tolerance(dtype))
              << cpu->name() << " " << name_of(dtype);
      }
}

TEST(Rotary, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices())
    for (const Case& c : kCases) {
      if (c.rows > 10) continue;
      const auto f = [&](Tape& tape, const std::vector<Var>& in) {
        Var fresh = in[0];  // of this evaluation alone
        return rotary_in_place(tape, std::move(fresh), {c.first_column, c.heads, c.head_dim, c.layout},
                               table_of(*cpu, DType::float64, c.head_dim), index_of(*cpu, c.rows));
      };
      EXPECT_EQ(check_gradients(f, {wavy(*cpu, {c.rows, c.columns}, DType::float64, 0.7)}), "")
          << cpu->name();
    }
}

TEST(Rotary, LeavesAGradientThatOthersHoldAlone) {
  const Device cpu = Device::cpu();
  const Case& c = kCases[1];
  Tape tape;
  Var x = leaf(wavy(cpu, {c.rows, c.columns}, DType::float32, 0.7));
  const std::shared_ptr<Gradient> gradient = x.gradient();
  const Var y = rotary_in_place(tape, std::move(x), {c.first_column, c.heads, c.head_dim, c.layout},
                                table_of(cpu, DType::float32, c.head_dim), index_of(cpu, c.rows));
  const Tensor seed = wavy(cpu, {c.rows, c.columns}, DType::float32, 0.3);
  const std::vector<double> before = seed.to_vector();
  tape.backward(y, seed);
  EXPECT_EQ(seed.to_vector(), before);
  EXPECT_NE(gradient->value().to_vector(), before);
}

TEST(Rotary, GivesTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  const Case& c = kCases[2];
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    Tape off(Tape::Mode::off);
    const std::vector<double> y =
        rotary_in_place(off, constant(wavy(cpu, {c.rows, c.columns}, DType::float32, 0.7)),
                        {c.first_column, c.heads, c.head_dim, c.layout},
                        table_of(cpu, DType::float32, c.head_dim), index_of(cpu, c.rows))
            .value()
            .to_vector();
    if (run == 0) first = y;
    EXPECT_EQ(first, y);
  }
}

}  // namespace
}  // namespace pscale
