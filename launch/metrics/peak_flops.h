// The peak that a run's model FLOPs are held against: configured (log.peak_flops), or measured as the fastest
// of a few matrix products. The product comes as a callback, so this file knows no backend.
#pragma once

#include <functional>
#include <optional>

namespace pscale {

struct PeakMeasurement {
  double seconds = 0.3;  ///< how long to keep trying
  int least_calls = 3;   ///< timed calls, however long they take
  /// Seconds of a clock that only grows; empty: std::chrono::steady_clock.
  std::function<double()> clock;
};

/// FLOP/s of the fastest call of `multiply`, which does one product worth `flops_per_call` (2 m n k) and
/// returns when it is done; one call before warms up. Nothing where no call takes measurable time. All ranks
/// measure at once, so that ranks that share cores share the peak, and the run's peak is their sum.
std::optional<double> measure_peak_flops(const std::function<void()>& multiply, double flops_per_call,
                                         const PeakMeasurement& measurement = {});

/// Model FLOPs utilization, model_flops_per_second / peak; NaN (unknown) without a positive peak.
double model_flops_utilization(double model_flops_per_second, std::optional<double> peak_flops);

}  // namespace pscale
