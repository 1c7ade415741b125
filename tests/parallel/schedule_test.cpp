#include "parallel/grads/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {
namespace {

ScheduleConfig config(ScheduleKind kind, int64_t warmup, int64_t last) {
  ScheduleConfig c;
  c.kind = kind;
  c.warmup_steps = warmup;
  c.max_steps = last;
  return c;
}

TEST(Schedule, WarmupIsStepOverWarmupAndThenOne) {
  const auto c = config(ScheduleKind::constant_with_warmup, 3, 8);
  for (int64_t step = 1; step <= 8; ++step)
    EXPECT_EQ(learning_rate_factor(c, step), std::min(1.0, static_cast<double>(step) / 3)) << step;
}

TEST(Schedule, WithoutWarmupTheFirstStepHasTheFullRate) {
  EXPECT_EQ(learning_rate_factor(config(ScheduleKind::constant_with_warmup, 0, 8), 1), 1);
}

TEST(Schedule, DecaysReachTheirEndAtTheLastStep) {
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine}) {
    auto c = config(kind, 2, 20);
    EXPECT_EQ(learning_rate_factor(c, 2), 1);
    EXPECT_NEAR(learning_rate_factor(c, 11), 0.5, 1e-15);
    EXPECT_NEAR(learning_rate_factor(c, 20), 0, 1e-15);
    EXPECT_GT(learning_rate_factor(c, 19), 0);
    c.min_lr_ratio = 0.25;
    EXPECT_NEAR(learning_rate_factor(c, 20), 0.25, 1e-15);
    EXPECT_NEAR(learning_rate_factor(c, 11), 0.625, 1e-15);
  }
}

TEST(Schedule, WsdDecaysOverATenthUnlessToldOtherwise) {
  auto c = config(ScheduleKind::wsd, 10, 100);
  c.decay_type = RampKind::linear;
  EXPECT_EQ(learning_rate_factor(c, 5), 0.5);
  EXPECT_EQ(learning_rate_factor(c, 10), 1);
  EXPECT_EQ(learning_rate_factor(c, 90), 1);
  EXPECT_NEAR(learning_rate_factor(c, 95), 0.5, 1e-15);
  EXPECT_EQ(learning_rate_factor(c, 100), 0);
  c.num_decay_steps = 40;
  EXPECT_NEAR(learning_rate_factor(c, 80), 0.5, 1e-15);
  c.decay_type = RampKind::one_minus_sqrt;
  EXPECT_NEAR(learning_rate_factor(c, 70), 0.5, 1e-15);
}

TEST(Schedule, StepsCountFromOne) {
  EXPECT_THROW(learning_rate_factor(config(ScheduleKind::cosine, 0, 8), 0), InvariantError);
}

TEST(Schedule, NamesGoBothWays) {
  for (const char* name : {"constant_with_warmup", "cosine", "linear", "wsd"})
    EXPECT_EQ(to_string(schedule_kind(name)), name);
  for (const char* name : {"linear", "cosine", "1-sqrt"}) EXPECT_EQ(to_string(ramp_kind(name)), name);
  EXPECT_EQ(schedule_kind("warmup_stable_decay"), ScheduleKind::wsd);
  EXPECT_THROW(schedule_kind("constant"), UserError);
  EXPECT_THROW(ramp_kind("sqrt"), UserError);
}

TEST(Schedule, AllProblemsAreFoundAtOnce) {
  auto c = config(ScheduleKind::wsd, -1, 0);
  c.min_lr_ratio = 2;
  c.num_decay_steps = -3;
  EXPECT_EQ(schedule_problems(c).size(), 4u);
  EXPECT_TRUE(schedule_problems(ScheduleConfig{}).empty());
  c = config(ScheduleKind::wsd, 50, 60);
  c.num_decay_steps = 20;
  ASSERT_EQ(schedule_problems(c).size(), 1u);
  EXPECT_NE(schedule_problems(c)[0].find("optimizer.num_decay_steps"), std::string::npos);
}

}  // namespace
}  // namespace pscale
