#include "core/ops/shape.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "tests/core/devices.h"
#include "tests/core/values.h"

namespace pscale {
namespace {

using testing::at;
using testing::wavy;

TEST(Reshape, KeepsTheMemory) {
  const Device cpu = Device::cpu();
  const Tensor x = wavy(cpu, {4, 6}, DType::float32, 0.7);
  Tape off(Tape::Mode::off);
  const Tensor y = reshape(off, constant(x), {2, -1, 3}).value();
  EXPECT_EQ(y.shape(), (Shape{2, 4, 3}));
  EXPECT_TRUE(y.shares_memory_with(x));
  EXPECT_EQ(y.to_vector(), x.to_vector());
}

TEST(Narrow, TakesAPartOfADim) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats) {
      const Shape shape = {5, 7, 9};
      const Tensor x = wavy(*cpu, shape, dtype, 0.7);
      for (int dim = 0; dim < 3; ++dim) {
        const int64_t start = 2, length = 3;
        Tape off(Tape::Mode::off);
        const Tensor y = narrow(off, constant(x), dim, start, length).value();
        Shape expected = shape;
        expected[at(dim)] = length;
        ASSERT_EQ(y.shape(), expected);
        for (int64_t i = 0; i < y.size(0); ++i)
          for (int64_t j = 0; j < y.size(1); ++j)
            for (int64_t k = 0; k < y.size(2); ++k) {
              const int64_t from = ((i + (dim == 0 ? start : 0)) * 7 + j + (dim == 1 ? start : 0)) * 9 + k +
                                   (dim == 2 ? start : 0);
              ASSERT_EQ(y.item((i * y.size(1) + j) * y.size(2) + k), x.item(from))
                  << cpu->name() << " dim " << dim;
            }
      }
    }
}

TEST(SwapLastDims, EqualsThePlainTranspose) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const Shape& shape :
           {Shape{3, 5}, Shape{1, 1}, Shape{2, 7, 1}, Shape{3, 65, 130}, Shape{2, 3, 4, 5}}) {
        const Tensor x = wavy(*cpu, shape, dtype, 0.7);
        Tape off(Tape::Mode::off);
        const Tensor y = swap_last_dims(off, constant(x)).value();
        const int64_t a = x.size(-2), b = x.size(-1);
        ASSERT_EQ(y.size(-2), b);
        ASSERT_EQ(y.size(-1), a);
        for (int64_t i = 0; i < x.elements(); ++i)
          ASSERT_EQ(y.item(i / (a * b) * a * b + i % b * a + i / b % a), x.item(i))
              << cpu->name() << " " << name_of(dtype);
      }
}

TEST(Replicate, RepeatsEveryRow) {
  for (const auto& cpu : testing::cpu_devices())
    for (const DType dtype : testing::kFloats)
      for (const int64_t p : {1, 2, 5}) {
        const Tensor x = wavy(*cpu, {33, 7}, dtype, 0.7);
        Tape off(Tape::Mode::off);
        const Tensor y = replicate(off, constant(x), p).value();
        ASSERT_EQ(y.shape(), (Shape{33, p, 7}));
        for (int64_t i = 0; i < y.elements(); ++i)
          ASSERT_EQ(y.item(i), x.item(i / (7 * p) * 7 + i % 7)) << cpu->name();
      }
}

TEST(ShapeOperators, GradientsEqualFiniteDifferences) {
  using Function = std::function<Var(Tape&, const std::vector<Var>&)>;
  const std::vector<Function> functions = {
      [](Tape& t, const std::vector<Var>& in) {
        return reshape(t, in[0], {12, 2});
      },
      [](Tape& t, const std::vector<Var>& in) { return narrow(t, in[0], 0, 1, 2); },
      [](Tape& t, const std::vector<Var>& in) { return narrow(t, in[0], 1, 2, 3); },
      [](Tape& t, const std::vector<Var>& in) { return swap_last_dims(t, in[0]); },
      [](Tape& t, const std::vector<Var>& in) { return replicate(t, in[0], 1); },
      [](Tape& t, const std::vector<Var>& in) { return replicate(t, in[0], 3); },
      // A part of a part of a transpose, so that gradients are rearranged more than once.
      [](Tape& t, const std::vector<Var>& in) {
        return narrow(t, narrow(t, swap_last_dims(t, in[0]), 0, 1, 4), 1, 1, 2);
      },
  };
  for (const auto& cpu : testing::cpu_devices())
    for (size_t i = 0; i < functions.size(); ++i) {
      EXPECT_EQ(check_gradients(functions[i], {wavy(*cpu, {4, 6}, DType::float64, 0.7)}), "")
          << cpu->name() << " " << i;
    }
}

TEST(Narrow, TwoPartsAddUp) {
  for (const auto& cpu : testing::cpu_devices())
    for (const int dim : {0, 1, 2}) {
      const Var x = leaf(wavy(*cpu, {4, 5, 6}, DType::float32, 0.7));
      Tape tape;
      std::vector<Var> parts = {narrow(tape, x, dim, 0, 3), narrow(tape, x, dim, 2, 2)};
      const Var* inputs[] = {&parts[0], &parts[1]};
      const std::vector<Var> both =
          tape.op({Tensor::zeros(*cpu, {1}, DType::float32)}, inputs,
                  [a = parts[0].gradient(), b = parts[1].gradient()](std::vector<Tensor>) {
                    for (const auto& g : {a, b}) {
                      const Tensor ones = Tensor::empty(g->target().tensor.device(), g->shape(), g->dtype());
                      for (int64_t i = 0; i < ones.elements(); ++i) ones.data<float>()[i] = 1;
                      g->clear();
                      g->add(ones);
                    }
                  });
      tape.backward(both[0]);
      const Tensor gradient = x.gradient()->value();
      for (int64_t i = 0; i < gradient.elements(); ++i) {
        const int64_t index = dim == 0 ? i / 30 : dim == 1 ? i / 6 % 5 : i % 6;
        ASSERT_EQ(gradient.item(i), (index < 3 ? 1 : 0) + (index >= 2 && index < 4 ? 1 : 0))
            << cpu->name() << " dim " << dim;
      }
    }
}

TEST(ShapeOperators, PassTheGradientsDtypeOn) {
  const Device cpu = Device::cpu();
  const auto gradient = std::make_shared<Gradient>(cpu, Shape{4, 6}, DType::float32);
  const Var x(wavy(cpu, {4, 6}, DType::bfloat16, 0.7), gradient);
  Tape tape;
  const Var y = narrow(tape, reshape(tape, swap_last_dims(tape, x), {3, 8}), 0, 1, 2);
  ASSERT_TRUE(y.gradient());
  EXPECT_EQ(y.gradient()->dtype(), DType::float32);
  const Tensor seed = wavy(cpu, {2, 8}, DType::float32, 0.3);
  tape.backward(y, seed);
  ASSERT_EQ(gradient->value().dtype(), DType::float32);
  for (int64_t i = 0; i < 24; ++i) {  // element i of the transpose is x[i % 4, i / 4]; the seed starts at 8
    ASSERT_EQ(gradient->value().item(i % 4 * 6 + i / 4), i >= 8 ? seed.item(i - 8) : 0);
  }
}

}  // namespace
}  // namespace pscale
