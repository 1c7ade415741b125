#include "launch/metrics/peak_flops.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "core/base/errors.h"

namespace pscale {

std::optional<double> measure_peak_flops(const std::function<void()>& multiply, double flops_per_call,
                                         const PeakMeasurement& measurement) {
  PSCALE_CHECK(flops_per_call > 0, "a product of ", flops_per_call, " FLOPs");
  const auto steady = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const std::function<double()> clock = measurement.clock ? measurement.clock : steady;
  multiply();
  double best = std::numeric_limits<double>::infinity();
  const double start = clock();
  for (double before = start, calls = 0;
       calls < measurement.least_calls || before - start < measurement.seconds; ++calls) {
    multiply();
    const double after = clock();
    if (after > before && after - before < best) best = after - before;
    // A clock that stands still would never reach the time asked for.
    if (after <= before && calls >= 1e6) break;
    before = after;
  }
  if (!std::isfinite(best)) return std::nullopt;
  return flops_per_call / best;
}

double model_flops_utilization(double model_flops_per_second, std::optional<double> peak_flops) {
  if (!peak_flops || !(*peak_flops > 0) || !std::isfinite(*peak_flops))
    return std::numeric_limits<double>::quiet_NaN();
  return model_flops_per_second / *peak_flops;
}

}  // namespace pscale
