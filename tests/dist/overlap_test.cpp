// A slow network must not cost time while there is work to hide it behind. The work here sleeps, so that the result does
// not depend on how many cores the ranks share.
#include <algorithm>
#include <chrono>
#include <thread>

#include "parallel/comm/delayed.h"
#include "parallel/grads/buckets.h"
#include "parallel/ops/collectives.h"
#include "tests/dist/world.h"

namespace pscale {
namespace {

using Seconds = std::chrono::duration<double>;
constexpr Seconds kDelay{0.15}, kWork{0.2};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// An operator that takes `seconds` forward and backward.
Var work(Tape& tape, const Var& x, Seconds seconds) {
  std::this_thread::sleep_for(seconds);
  return tape.op(x.value(), {&x}, [gx = x.gradient(), seconds](Tensor dy) {
    std::this_thread::sleep_for(seconds);
    gx->add(std::move(dy));
  });
}

Var sum_of(Tape& tape, const Var& a, const Var& b) {
  return tape.op(a.value(), {&a, &b}, [ga = a.gradient(), gb = b.gradient()](Tensor dy) {
    ga->add(dy);
    gb->add(dy);
  });
}

/// Seconds of a forward and backward pass in which an all-gather is in flight behind `hidden` work.
double step_seconds(Communicator& group, const Device& cpu, Seconds hidden) {
  const Var x = leaf(Tensor::zeros(cpu, {2, 4}, DType::float32));
  group.barrier();
  const double start = now();
  Tape tape;
  Pending pending = all_gather_start(tape, x, group, Purpose{"slow"});
  const Var other = work(tape, leaf(Tensor::zeros(cpu, gathered_shape(x.value(), group), DType::float32)), hidden);
  const Var out = sum_of(tape, wait(tape, std::move(pending)), other);
  tape.backward(out, Tensor::zeros(cpu, out.shape(), DType::float32));
  return now() - start;
}

template <class F>
double median_of(F&& f) {
  std::vector<double> seconds{f(), f(), f()};
  std::sort(seconds.begin(), seconds.end());
  return seconds[1];
}

TEST(Overlap, ACollectiveHidesBehindWorkForwardAndBackward) {
  const int64_t ranks = testing::world().size();
  if (ranks != 2) GTEST_SKIP() << "two ranks are enough";
  const Device cpu = Device::cpu();
  const auto mesh = testing::mesh_of({1, ranks, 1});
  Communicator& fast = mesh->group(Axis::replica);
  DelayedCommunicator slow(fast, kDelay);
  const double without = median_of([&] { return step_seconds(fast, cpu, kWork); });
  const double with = median_of([&] { return step_seconds(slow, cpu, kWork); });
  const double bare = median_of([&] { return step_seconds(slow, cpu, Seconds(0)); });
  // The delay is there, once forward and once backward ...
  EXPECT_GE(bare, 2 * kDelay.count());
  // ... and costs nothing where there is work.
  EXPECT_LT(with, without + 0.25 * 2 * kDelay.count());
}

TEST(Overlap, GradientBucketsHideBehindTheRestOfBackward) {
  const int64_t ranks = testing::world().size();
  if (ranks != 2) GTEST_SKIP() << "two ranks are enough";
  const Device cpu = Device::cpu();
  // A mesh whose collectives over data are slow.
  const auto plain = testing::mesh_of({ranks, 1, 1});
  const auto seconds = [&](Seconds delay, Seconds work_after) {
    Mesh::Groups groups;
    groups[Axis::data] = std::make_unique<DelayedCommunicator>(plain->group(Axis::data), delay);
    const Mesh mesh(plain->layout(), plain->rank(), std::move(groups), std::make_unique<CommCounters>());
    ParameterSet parameters(cpu, mesh, DType::float32, false);
    parameters.declare({.name = "first", .shape = {8, 4}});
    parameters.declare({.name = "second", .shape = {8, 4}});
    GradientBuckets buckets(parameters, 1);  // a bucket for each
    plain->group(Axis::data).barrier();
    const double start = now();
    buckets.start_last_micro_batch();
    Tape tape;
    // Backward uses `second` first; what comes after it is work of this length.
    Var x = work(tape, parameters.named("first").var(), work_after);
    const Var out = sum_of(tape, x, parameters.named("second").var());
    tape.backward(out, Tensor::zeros(cpu, out.shape(), DType::float32));
    const double before_finish = now();
    buckets.finish();
    const double waited = now() - before_finish;
    buckets.clear();
    return std::pair(now() - start, waited);
  };
  // The bucket of `first` is sent last and has nothing to hide behind: one delay remains, not two.
  const double total = median_of([&] { return seconds(kDelay, kWork).first; });
  EXPECT_LT(total, 2 * kWork.count() + 1.5 * kDelay.count());
  EXPECT_GE(median_of([&] { return seconds(kDelay, Seconds(0)).second; }), 0.9 * kDelay.count());
}

}  // namespace
}  // namespace pscale
