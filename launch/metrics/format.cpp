#include "launch/metrics/format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "core/base/text.h"

namespace pscale {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  char text[128];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string three_digits(double x) { return print(x < 9.995 ? "%.2f" : x < 99.95 ? "%.1f" : "%.0f", x); }

/// Divides by `base` until the rounded number has at most three digits before the point.
std::string scaled(double x, double base, const char* const* units, int unit_count) {
  int unit = 0;
  while (unit + 1 < unit_count && std::abs(x) >= (base == 1000 ? 999.5 : base)) x /= base, ++unit;
  return (unit == 0 ? print("%.0f", x) : three_digits(x)) + units[unit];
}

std::string step_of(const MetricsRow& row, int64_t max_steps) {
  return cat("step ", row.step, "/", max_steps);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto s = static_cast<long long>(std::llround(std::min(seconds, 1e15)));
  if (s < 60) return print("%llds", s);
  if (s < 3600) return print("%lldm%02llds", s / 60, s % 60);
  if (s < 86400) return print("%lldh%02lldm", s / 3600, s % 3600 / 60);
  return print("%lldd%02lldh", s / 86400, s % 86400 / 3600);
}

std::string format_count(double count) {
  static constexpr const char* units[] = {"", "k", "M", "G", "T", "P"};
  return scaled(count, 1000, units, 6);
}

std::string format_bytes(double bytes) {
  static constexpr const char* units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  return scaled(bytes, 1024, units, 6);
}

std::string format_time(double time) {
  const auto seconds = static_cast<std::time_t>(std::floor(time));
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts));
}

std::string progress_line(const MetricsRow& row, int64_t max_steps, double seconds_left, int columns) {
  std::string line = step_of(row, max_steps);
  const auto add = [&](double value, const std::string& text) {
    if (std::isfinite(value)) line += "  " + text;
  };
  add(row.loss, print("loss %.4f", row.loss));
  add(row.learning_rate, print("lr %.2e", row.learning_rate));
  add(row.tokens_per_second, format_count(row.tokens_per_second) + " tok/s");
  add(seconds_left, "eta " + format_duration(seconds_left));
  // The last column stays free: some terminals wrap when it is written.
  if (columns > 0) line.resize(std::min(line.size(), static_cast<size_t>(std::max(1, columns - 1))));
  return line;
}

std::string log_line(const MetricsRow& row, int64_t max_steps, double seconds_left) {
  std::string line = step_of(row, max_steps);
  const auto add = [&](double value, const std::string& text) {
    if (std::isfinite(value)) line += " | " + text;
  };
  const auto add_set = [&](const auto& value, const char* format) {
    if (value) add(static_cast<double>(*value), print(format, static_cast<double>(*value)));
  };
  line += std::isfinite(row.loss) ? print(" | loss %.6f", row.loss) : std::string(" | loss unknown");
  add_set(row.validation_loss, "validation loss %.6f");
  add(row.grad_norm, print("grad norm %.4g", row.grad_norm));
  add(row.learning_rate, print("lr %.3e", row.learning_rate));
  add_set(row.replica_share_entropy, "share entropy %.4f");
  add_set(row.replica_cosine, "replica cosine %.4f");
  add(row.step_seconds, print("%.3g s/step", row.step_seconds));
  add(row.tokens_per_second, format_count(row.tokens_per_second) + " tok/s");
  add(row.model_flops_per_second, format_count(row.model_flops_per_second) + " FLOP/s");
  add(row.mfu, print("mfu %.1f%%", 100 * row.mfu));
  add_set(row.data_wait_seconds, "data wait %.3g s");
  add_set(row.communication_wait_seconds, "communication wait %.3g s");
  if (row.memory_peak_bytes) line += " | peak " + format_bytes(static_cast<double>(*row.memory_peak_bytes));
  if (row.skipped_steps.value_or(0) > 0) line += cat(" | skipped ", *row.skipped_steps);
  add(seconds_left, "eta " + format_duration(seconds_left));
  return line;
}

void RemainingTime::add(double seconds, int64_t steps) {
  if (!std::isfinite(seconds) || seconds < 0 || steps < 1) return;
  constexpr double keep_per_step = 0.95;
  const double keep = std::pow(keep_per_step, static_cast<double>(steps));
  sum_ = keep * sum_ + (1 - keep) * seconds;
  weight_ = keep * weight_ + (1 - keep);
}

double RemainingTime::seconds_left(int64_t steps_left) const {
  if (weight_ == 0) return unknown_metric;
  return sum_ / weight_ * static_cast<double>(std::max<int64_t>(0, steps_left));
}

}  // namespace pscale
