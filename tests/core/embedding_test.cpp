#include "core/ops/embedding.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

// Entries 4 ... 12 of a vocabulary; others belong to another rank, -1 is padding.
constexpr int64_t kFirst = 4, kRows = 9;
const std::vector<double> kTokens = {4, 12, 5, -1, 4, 13, 3, 4, 0, 12, 7, -1, 500};

bool is_here(double token) { return token >= kFirst && token < kFirst + kRows; }

/// The tokens above again and again.
std::vector<double> tokens_of(int64_t count) {
  std::vector<double> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(kTokens[at(i) % kTokens.size()]);
  return tokens;
}

TEST(Embedding, TakesTheRowsItHas) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t columns : {1, 7, 130}) {
        const Tensor table = wavy(*cpu, {kRows, columns}, dtype, 0.7);
        const std::vector<double> tokens = tokens_of(300);
        Tape off(Tape::Mode::off);
        const Tensor y =
            embedding(off, constant(table), Tensor::of(*cpu, {300}, DType::int32, tokens), kFirst).value();
        for (int64_t i = 0; i < 300; ++i)
          for (int64_t c = 0; c < columns; ++c) {
            const int64_t row = static_cast<int64_t>(tokens[at(i)]) - kFirst;
            ASSERT_EQ(y.item(i * columns + c), is_here(tokens[at(i)]) ? table.item(row * columns + c) : 0)
                << cpu->name();
          }
      }
}

TEST(Embedding, GradientsEqualFiniteDifferences) {
  for (const auto& cpu : testing::cpu_devices()) {
    const Tensor tokens = Tensor::of(*cpu, {static_cast<int64_t>(kTokens.size())}, DType::int32, kTokens);
    const Tensor table = wavy(*cpu, {kRows, 5}, DType::float64, 0.7);
    const auto once = [&](Tape& tape, const std::vector<Var>& in) {
      return embedding(tape, in[0], tokens, kFirst);
    };
    EXPECT_EQ(check_gradients(once, {table}), "") << cpu->name();
  }
}

TEST(Embedding, GradientsGatherInTheirOwnDtype) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t columns : {3, 130}) {
        const int64_t count = 260;  // 20 times each; with 130 columns the threads share them
        const std::vector<double> tokens = tokens_of(count);
        const Tensor dout = wavy(*cpu, {count, columns}, dtype, 0.31);
        const DType sums = dtype == DType::bfloat16 ? DType::float32 : dtype;
        const auto gradient = std::make_shared<Gradient>(*cpu, Shape{kRows, columns}, sums);
        const Var table(wavy(*cpu, {kRows, columns}, dtype, 0.7), gradient);
        std::vector<double> expected(at(kRows * columns));
        for (int pass = 0; pass < 2; ++pass) {  // the second adds to the first
          Tape tape;
          tape.backward(embedding(tape, table, Tensor::of(*cpu, {count}, DType::int32, tokens), kFirst),
                        dout);
          for (int64_t i = 0; i < count; ++i)
            for (int64_t c = 0; c < columns && is_here(tokens[at(i)]); ++c)
              expected[at((static_cast<int64_t>(tokens[at(i)]) - kFirst) * columns + c)] +=
                  dout.item(i * columns + c);
        }
        ASSERT_EQ(gradient->value().dtype(), sums);
        const double tolerance = sums == DType::float64 ? 1e-12 : 1e-4;  // sums in float32 for bfloat16, too
        for (int64_t i = 0; i < kRows * columns; ++i)
          ASSERT_NEAR(gradient->value().item(i), expected[at(i)], tolerance)
              << cpu->name() << " " << name_of(dtype);
      }
}

TEST(Embedding, GivesTheSameBitsTwice) {
  const Device cpu = Device::cpu();
  const Tensor tokens = Tensor::of(cpu, {500}, DType::int32, tokens_of(500));
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    const Var table = leaf(wavy(cpu, {kRows, 65}, DType::float32, 0.7));
    Tape tape;
    tape.backward(embedding(tape, table, tokens, kFirst), wavy(cpu, {500, 65}, DType::float32, 0.31));
    const std::vector<double> gradient = table.gradient()->value().to_vector();
    if (run == 0) first = gradient;
    EXPECT_EQ(first, gradient);
  }
}

}  // namespace
}  // namespace pscale
