// Numbers and progress as text for people. Pure functions of their arguments: no clock, no terminal.
#pragma once

#include <cstdint>
#include <string>

#include "launch/metrics/metrics_row.h"

namespace pscale {

/// Seconds as "45s", "12m05s", "3h20m", "2d04h"; "?" where unknown or negative.
std::string format_duration(double seconds);
/// 950 -> "950", 12345 -> "12.3k", 4.5e6 -> "4.50M"; G and T likewise; three digits.
std::string format_count(double count);
/// Bytes as "512 B", "1.50 KiB", "23.4 MiB", ...
std::string format_bytes(double bytes);
/// Seconds since 1970 as "2026-01-31 17:05:09", local time.
std::string format_time(double time);

/// For a terminal, cut to `columns` where these are positive:
/// "step 120/1000  loss 3.4123  lr 3.00e-04  12.3k tok/s  eta 2h05m". Unknown parts are left out.
std::string progress_line(const MetricsRow& row, int64_t max_steps, double seconds_left, int columns);

/// For a log: everything known about a step, on one line.
std::string log_line(const MetricsRow& row, int64_t max_steps, double seconds_left);

/// Time left in a run, from the mean of the latest steps' seconds (an exponential one: early steps fade).
class RemainingTime {
 public:
  /// `seconds` per step, measured over `steps` steps; unknown values are ignored.
  void add(double seconds, int64_t steps = 1);
  /// NaN before the first add().
  double seconds_left(int64_t steps_left) const;

 private:
  double sum_ = 0, weight_ = 0;
};

}  // namespace pscale
