#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"
#include "launch/metrics/peak_flops.h"

namespace pscale {
namespace {

TEST(PeakFlops, TakesTheFastestCall) {
  double now = 0;
  int calls = 0;
  const double seconds[] = {9, 0.5, 0.25, 0.5, 0.4};  // the first one warms up
  const auto multiply = [&] { now += seconds[calls++]; };
  const PeakMeasurement measurement{.seconds = 1.5, .least_calls = 3, .clock = [&] { return now; }};
  EXPECT_EQ(measure_peak_flops(multiply, 1e9, measurement), 4e9);
  EXPECT_EQ(calls, 5);
}

TEST(PeakFlops, MakesTheLeastCallsHoweverSlow) {
  double now = 0;
  int calls = 0;
  const auto multiply = [&] { now += 10, ++calls; };
  const PeakMeasurement measurement{.seconds = 0.1, .least_calls = 2, .clock = [&] { return now; }};
  EXPECT_EQ(measure_peak_flops(multiply, 1e9, measurement), 1e8);
  EXPECT_EQ(calls, 3);
}

TEST(PeakFlops, IsUnknownWhenTheClockStandsStill) {
  const PeakMeasurement measurement{.clock = [] { return 1.0; }};
  EXPECT_EQ(measure_peak_flops([] {}, 1e9, measurement), std::nullopt);
}

TEST(PeakFlops, MeasuresARealLoop) {
  volatile float sum = 0;
  const auto multiply = [&] {
    for (int i = 0; i < 100000; ++i) sum = sum * 0.5f + 1.0f;
  };
  const auto peak = measure_peak_flops(multiply, 2e5, {.seconds = 0.01});
  ASSERT_TRUE(peak.has_value());
  EXPECT_GT(*peak, 1e5);
  EXPECT_LT(*peak, 1e13);
}

TEST(PeakFlops, RefusesAProductWithoutWork) {
  EXPECT_THROW(measure_peak_flops([] {}, 0), InvariantError);
}

TEST(PeakFlops, Utilization) {
  EXPECT_EQ(model_flops_utilization(5e9, 2e10), 0.25);
  EXPECT_TRUE(std::isnan(model_flops_utilization(5e9, std::nullopt)));
  EXPECT_TRUE(std::isnan(model_flops_utilization(5e9, 0.0)));
  EXPECT_TRUE(std::isnan(model_flops_utilization(std::nan(""), 1e9)));
}

}  // namespace
}  // namespace pscale
