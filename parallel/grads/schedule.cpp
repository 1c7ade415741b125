#include "parallel/grads/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr double pi = std::numbers::pi;

struct WsdLengths {
  int64_t stable, decay;
};

WsdLengths wsd_lengths(const ScheduleConfig& c) {
  const int64_t decay = c.num_decay_steps.value_or(c.max_steps / 10);
  return {c.num_stable_steps.value_or(c.max_steps - c.warmup_steps - decay), decay};
}

double ratio(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
}

double rise(RampKind kind, double x) {
  switch (kind) {
    case RampKind::linear: return x;
    case RampKind::cosine: return 0.5 * (1 - std::cos(pi * x));
    case RampKind::one_minus_sqrt: return 1 - std::sqrt(1 - x);
  }
  PSCALE_CHECK(false, "ramp kind ", static_cast<int>(kind));
}

double cosine_fall(double cycles, double x) { return 0.5 * (1 + std::cos(pi * cycles * 2 * x)); }

double fall(RampKind kind, double cycles, double x) {
  switch (kind) {
    case RampKind::linear: return 1 - x;
    case RampKind::cosine: return cosine_fall(cycles, x);
    case RampKind::one_minus_sqrt: return 1 - std::sqrt(x);
  }
  PSCALE_CHECK(false, "ramp kind ", static_cast<int>(kind));
}

double above(double floor, double factor) { return std::max(0.0, factor * (1 - floor) + floor); }

double wsd_factor(const ScheduleConfig& c, int64_t step) {
  const WsdLengths length = wsd_lengths(c);
  if (step < c.warmup_steps) return above(c.min_lr_ratio, rise(c.warmup_type, ratio(step, c.warmup_steps)));
  const int64_t decayed = step - c.warmup_steps - length.stable;
  if (decayed < 0) return 1;
  if (decayed >= length.decay) return c.min_lr_ratio;
  return above(c.min_lr_ratio, fall(c.decay_type, c.num_cycles, ratio(decayed, length.decay)));
}

}  // namespace

ScheduleKind schedule_kind(const std::string& name) {
  if (name == "constant_with_warmup") return ScheduleKind::constant_with_warmup;
  if (name == "cosine") return ScheduleKind::cosine;
  if (name == "linear") return ScheduleKind::linear;
  if (name == "wsd" || name == "warmup_stable_decay") return ScheduleKind::wsd;
  throw UserError(
      cat("optimizer.schedule = \"", name, "\" is unknown; use constant_with_warmup, cosine, linear or wsd"));
}

RampKind ramp_kind(const std::string& name) {
  if (name == "linear") return RampKind::linear;
  if (name == "cosine") return RampKind::cosine;
  if (name == "1-sqrt") return RampKind::one_minus_sqrt;
  throw UserError(cat("the ramp \"", name, "\" is unknown; use linear, cosine or 1-sqrt"));
}

std::string to_string(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::constant_with_warmup: return "constant_with_warmup";
    case ScheduleKind::cosine: return "cosine";
    case ScheduleKind::linear: return "linear";
    case ScheduleKind::wsd: return "wsd";
  }
  PSCALE_CHECK(false, "schedule kind ", static_cast<int>(kind));
}

std::string to_string(RampKind kind) {
  switch (kind) {
    case RampKind::linear: return "linear";
    case RampKind::cosine: return "cosine";
    case RampKind::one_minus_sqrt: return "1-sqrt";
  }
  PSCALE_CHECK(false, "ramp kind ", static_cast<int>(kind));
}

std::vector<std::string> schedule_problems(const ScheduleConfig& c) {
  std::vector<std::string> problems;
  if (c.warmup_steps < 0)
    problems.push_back(cat("optimizer.warmup_steps = ", c.warmup_steps, " must not be negative"));
  if (c.max_steps < 1) problems.push_back(cat("train.max_steps = ", c.max_steps, " must be at least 1"));
  if (!(c.min_lr_ratio >= 0 && c.min_lr_ratio <= 1))
    problems.push_back(cat("optimizer.min_lr_ratio = ", c.min_lr_ratio, " must be between 0 and 1"));
  if (!(c.num_cycles >= 0) || !std::isfinite(c.num_cycles))
    problems.push_back(cat("optimizer.num_cycles = ", c.num_cycles, " must be finite and not negative"));
  if (c.kind != ScheduleKind::wsd) return problems;

  if (c.num_decay_steps && *c.num_decay_steps < 0)
    problems.push_back(cat("optimizer.num_decay_steps = ", *c.num_decay_steps, " must not be negative"));
  if (c.num_stable_steps && *c.num_stable_steps < 0)
    problems.push_back(cat("optimizer.num_stable_steps = ", *c.num_stable_steps, " must not be negative"));
  const WsdLengths length = wsd_lengths(c);
  if (!c.num_stable_steps && length.stable < 0 && c.max_steps >= 1)
    problems.push_back(cat("optimizer.warmup_steps = ", c.warmup_steps, " and a decay of ", length.decay,
                           " steps do not fit train.max_steps = ", c.max_steps,
                           "; shorten optimizer.warmup_steps or optimizer.num_decay_steps"));
  return problems;
}

double learning_rate_factor(const ScheduleConfig& c, int64_t step) {
  PSCALE_CHECK(step >= 1, "steps count from 1, not ", step);
  if (c.kind == ScheduleKind::wsd) return wsd_factor(c, step);
  if (step < c.warmup_steps) return ratio(step, c.warmup_steps);
  switch (c.kind) {
    case ScheduleKind::cosine: {
      const double progress = ratio(step - c.warmup_steps, c.max_steps - c.warmup_steps);
      return above(c.min_lr_ratio, cosine_fall(c.num_cycles, progress));
    }
    case ScheduleKind::linear: {
      const double left = std::max(0.0, ratio(c.max_steps - step, c.max_steps - c.warmup_steps));
      return above(c.min_lr_ratio, left);
    }
    default: return 1;
  }
}

}  // namespace pscale
