#include "core/autograd/tape.h"

#include <gtest/gtest.h>

#include "core/autograd/gradient_check.h"
#include "core/autograd/recompute.h"
#include "core/ops/rms_norm.h"
#include "tests/core/devices.h"

namespace pscale {
namespace {

// y = x * x elementwise, written out so that the tape is tested without any kernel.
Var square(Tape& tape, const Var& x) {
  std::vector<double> y = x.value().to_vector();
  for (double& v : y) v *= v;
  return tape.op(Tensor::of(x.device(), x.shape(), x.dtype(), y), {&x}, [x = x.value(), gx = x.gradient()](Tensor dy) {
    std::vector<double> dx = dy.to_vector();
    for (size_t i = 0; i < dx.size(); ++i) dx[i] *= 2 * x.item(static_cast<int64_t>(i));
    gx->add(Tensor::of(dy.device(), dy.shape(), dy.dtype(), dx));
  });
}

Var sum_with_self(Tape& tape, const Var& a, const Var& b) {
  std::vector<double> y = a.value().to_vector();
  for (size_t i = 0; i < y.size(); ++i) y[i] += b.value().item(static_cast<int64_t>(i));
  return tape.op(Tensor::of(a.device(), a.shape(), a.dtype(), y), {&a, &b},
                 [ga = a.gradient(), gb = b.gradient()](Tensor dy) {
                   if (ga) ga->add(dy);
                   if (gb) gb->add(dy);
                 });
}

TEST(Tape, AddsTheGradientsOfSeveralUses) {
  const Device cpu = Device::cpu();
  Tape tape;
  const Var x = leaf(Tensor::of(cpu, {2}, DType::float64, {3, -1}));
  const Var y = sum_with_self(tape, square(tape, x), square(tape, square(tape, x)));  // x^2 + x^4
  tape.backward(y);
  EXPECT_EQ(x.gradient()->value().to_vector(), (std::vector<double>{2 * 3 + 4 * 27, -2 - 4}));
  EXPECT_EQ(tape.nodes(), 0);
}

TEST(Tape, SharedGradientsAreNotOverwritten) {
  const Device cpu = Device::cpu();
  Tape tape;
  const Var x = leaf(Tensor::of(cpu, {1}, DType::float64, {3}));
  const Var s = square(tape, x);                                // used twice below
  const Var y = sum_with_self(tape, s, sum_with_self(tape, s, s));  // 3 x^2
  tape.backward(y);
  EXPECT_EQ(x.gradient()->value().item(), 18);
}

TEST(Tape, KeepsNothingWhereNothingIsWanted) {
  const Device cpu = Device::cpu();
  Tape tape, off(Tape::Mode::off);
  const Tensor t = Tensor::of(cpu, {1}, DType::float64, {3});
  EXPECT_FALSE(square(tape, constant(t)).gradient());
  EXPECT_EQ(tape.nodes(), 0);
  EXPECT_FALSE(square(off, leaf(t)).gradient());
  EXPECT_EQ(off.nodes(), 0);
}

TEST(Tape, FreesWhatAnOperatorSavedAsSoonAsItRan) {
  const Device cpu = Device::cpu();
  const Var x = leaf(Tensor::zeros(cpu, {1 << 16}, DType::float64));
  const int64_t before = cpu.allocator().stats().current;
  Tape tape;
  Var y = square(tape, square(tape, x));
  EXPECT_EQ(cpu.allocator().stats().current - before, 2 * (8 << 16));
  tape.backward(y);
  y = {};
  x.gradient()->clear();
  EXPECT_EQ(cpu.allocator().stats().current, before);
}

TEST(Tape, ReportsTheLastUseOfAParameter) {
  const Device cpu = Device::cpu();
  const Var x = leaf(Tensor::of(cpu, {1}, DType::float64, {2}));
  int completed = 0;
  x.gradient()->on_complete([&] { ++completed; });
  Tape tape;
  const Var y = sum_with_self(tape, square(tape, x), square(tape, x));
  const Var twice = square(tape, y);
  EXPECT_EQ(completed, 0);
  tape.backward(twice);
  EXPECT_EQ(completed, 1);
}

TEST(Tape, StopGradientCountsTheUse) {
  const Device cpu = Device::cpu();
  const Var x = leaf(Tensor::of(cpu, {1}, DType::float64, {2})), y = leaf(Tensor::of(cpu, {1}, DType::float64, {3}));
  int completed = 0;
  x.gradient()->on_complete([&] { ++completed; });
  Tape tape;
  tape.backward(sum_with_self(tape, stop_gradient(tape, x), square(tape, y)));
  EXPECT_EQ(completed, 1);
  EXPECT_FALSE(x.gradient()->defined());
  EXPECT_EQ(y.gradient()->value().item(), 6);
}

TEST(Recompute, GivesTheSameGradientsAndKeepsOnlyItsInput) {
  const Device cpu = Device::cpu();
  const auto block = [](Tape& tape, const Var& in) { return square(tape, square(tape, square(tape, in))); };
  std::vector<double> gradient[2];
  int64_t held[2];
  for (const bool again : {false, true}) {
    const Var x = leaf(Tensor::of(cpu, {2}, DType::float64, {1.5, -0.5}));
    int completed = 0;
    x.gradient()->on_complete([&] { ++completed; });
    Tape tape;
    Var y = again ? recompute(tape, square(tape, x), block) : block(tape, square(tape, x));
    held[again] = cpu.allocator().stats().current;
    tape.backward(y);
    gradient[again] = x.gradient()->value().to_vector();
    EXPECT_EQ(completed, 1);
  }
  EXPECT_EQ(gradient[0], gradient[1]);
  EXPECT_LT(held[1], held[0]);
}

TEST(Recompute, CountsUsesOfParametersInsideOnce) {
  const Device cpu = Device::cpu();
  const Var weight = leaf(Tensor::of(cpu, {2}, DType::float64, {1, 2}));
  int completed = 0;
  weight.gradient()->on_complete([&] { ++completed; });
  const auto block = [&](Tape& tape, const Var& in) {
    return rms_norm(tape, rms_norm(tape, in, weight, 1e-6), weight, 1e-6);
  };
  Tape tape;
  // The input has no gradient: the block is on the tape for its parameters alone.
  const Var y = recompute(tape, constant(Tensor::of(cpu, {1, 2}, DType::float64, {3, 4})), block);
  ASSERT_TRUE(y.gradient());
  tape.backward(y);
  EXPECT_EQ(completed, 1);
  EXPECT_TRUE(weight.gradient()->defined());
}

TEST(GradientCheck, FindsAWrongGradient) {
  const Device cpu = Device::cpu();
  const auto wrong = [](Tape& tape, const std::vector<Var>& in) {
    std::vector<double> y = in[0].value().to_vector();
    for (double& v : y) v = v * v;
    return tape.op(Tensor::of(in[0].device(), in[0].shape(), in[0].dtype(), y), {&in[0]},
                   [g = in[0].gradient()](Tensor dy) { g->add(dy); });
  };
  const auto right = [](Tape& tape, const std::vector<Var>& in) { return square(tape, in[0]); };
  const Tensor x = Tensor::of(cpu, {3}, DType::float64, {1, -2, 0.3});
  EXPECT_EQ(check_gradients(right, {x}), "");
  EXPECT_NE(check_gradients(wrong, {x}), "");
}

}  // namespace
}  // namespace pscale
