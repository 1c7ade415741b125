#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "launch/metrics/format.h"

namespace pscale {
namespace {

MetricsRow row() {
  MetricsRow r;
  r.step = 120;
  r.loss = 3.41234567;
  r.grad_norm = 0.5321;
  r.learning_rate = 3e-4;
  r.step_seconds = 1.25;
  r.tokens_per_second = 12345;
  r.model_flops_per_second = 45.24e9;
  r.mfu = 0.3123;
  r.memory_peak_bytes = 512 * 1024 * 1024;
  return r;
}

TEST(Format, Duration) {
  EXPECT_EQ(format_duration(0), "0s");
  EXPECT_EQ(format_duration(59.4), "59s");
  EXPECT_EQ(format_duration(59.6), "1m00s");
  EXPECT_EQ(format_duration(725), "12m05s");
  EXPECT_EQ(format_duration(12030), "3h20m");
  EXPECT_EQ(format_duration(2 * 86400 + 4 * 3600 + 59), "2d04h");
  EXPECT_EQ(format_duration(std::nan("")), "?");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(Format, Count) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(999.7), "1.00k");
  EXPECT_EQ(format_count(12345), "12.3k");
  EXPECT_EQ(format_count(999700), "1.00M");
  EXPECT_EQ(format_count(4.5e6), "4.50M");
  EXPECT_EQ(format_count(123.4e9), "123G");
  EXPECT_EQ(format_count(2e12), "2.00T");
}

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(23.4 * 1024 * 1024), "23.4 MiB");
  EXPECT_EQ(format_bytes(3.0 * 1024 * 1024 * 1024 * 1024), "3.00 TiB");
}

TEST(Format, TimeHasDateAndSeconds) {
  const std::string text = format_time(1769850309.9);
  ASSERT_EQ(text.size(), 19u);
  EXPECT_EQ(text.substr(0, 5), "2026-");
  EXPECT_EQ(text[10], ' ');
  EXPECT_EQ(text.substr(16), ":09");
}

TEST(Format, ProgressLine) {
  EXPECT_EQ(progress_line(row(), 1000, 7500, 0),
            "step 120/1000  loss 3.4123  lr 3.00e-04  12.3k tok/s  eta 2h05m");
  MetricsRow bare;
  bare.step = 3;
  EXPECT_EQ(progress_line(bare, 10, unknown_metric, 0), "step 3/10");
}

TEST(Format, ProgressLineIsCutToTheTerminal) {
  EXPECT_EQ(progress_line(row(), 1000, 7500, 23), "step 120/1000  loss 3.");
  EXPECT_EQ(progress_line(row(), 1000, 7500, 1).size(), 1u);
  EXPECT_EQ(progress_line(row(), 1000, 7500, 500), progress_line(row(), 1000, 7500, 0));
}

TEST(Format, LogLine) {
  EXPECT_EQ(log_line(row(), 1000, 7500),
            "step 120/1000 | loss 3.412346 | grad norm 0.5321 | lr 3.000e-04 | 1.25 s/step | 12.3k tok/s | "
            "45.2G FLOP/s | mfu 31.2% | peak 512 MiB | eta 2h05m");
  MetricsRow r = row();
  r.loss = unknown_metric;
  r.mfu = unknown_metric;
  r.validation_loss = 3.5;
  r.replica_share_entropy = 1.25;
  r.replica_cosine = 0.75;
  r.skipped_steps = 2;
  EXPECT_EQ(log_line(r, 1000, unknown_metric),
            "step 120/1000 | loss unknown | validation loss 3.500000 | grad norm 0.5321 | lr 3.000e-04 | "
            "share entropy 1.2500 | replica cosine 0.7500 | 1.25 s/step | 12.3k tok/s | 45.2G FLOP/s | "
            "peak 512 MiB | skipped 2");
}

TEST(RemainingTime, IsTheMeanOfRecentSteps) {
  RemainingTime remaining;
  EXPECT_TRUE(std::isnan(remaining.seconds_left(10)));
  remaining.add(2);
  EXPECT_NEAR(remaining.seconds_left(10), 20, 1e-12);
  remaining.add(unknown_metric);
  remaining.add(-1);
  EXPECT_NEAR(remaining.seconds_left(10), 20, 1e-12);
  for (int i = 0; i < 300; ++i) remaining.add(0.5);
  EXPECT_NEAR(remaining.seconds_left(10), 5, 1e-3);
  EXPECT_EQ(remaining.seconds_left(-4), 0);
}

TEST(RemainingTime, AnIntervalCountsAsItsSteps) {
  RemainingTime one_by_one, at_once;
  one_by_one.add(8);
  at_once.add(8);
  for (int i = 0; i < 25; ++i) one_by_one.add(1);
  at_once.add(1, 25);
  EXPECT_NEAR(one_by_one.seconds_left(100), at_once.seconds_left(100), 1e-9);
}

}  // namespace
}  // namespace pscale
