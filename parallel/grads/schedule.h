// The learning rate over a run: a factor between 0 and 1 for every step, a pure function of the step. The
// trainer multiplies `optimizer.learning_rate` by it; any layer from parallel/ on may call it.
//
// Formulas, names and defaults are those of transformers.get_scheduler (transformers/optimization.py). One
// choice is ours: steps count from 1, and factor(step) is what transformers' lambda gives for that number.
// transformers itself runs its first update with lambda(0), which is 0 under a warm-up: an update that does
// nothing. Here step 1 of a warm-up of W has 1/W and step W the full rate (as min(1, step / W)), and the last
// step of cosine and linear, max_steps, reaches their end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pscale {

enum class ScheduleKind {
  constant_with_warmup,  ///< transformers' name too
  cosine,                ///< "cosine"; with min_lr_ratio > 0 "cosine_with_min_lr" (min_lr_rate there)
  linear,                ///< "linear"; with min_lr_ratio > 0 "polynomial" of power 1 (lr_end / lr there)
  wsd                    ///< "warmup_stable_decay"
};

/// Shape of a warm-up or a decay of wsd, progress x from 0 to 1. Down: linear 1 - x, cosine
/// (1 + cos(2 pi cycles x)) / 2, one_minus_sqrt 1 - sqrt(x). Up: x, (1 - cos(pi x)) / 2, 1 - sqrt(1 - x).
enum class RampKind { linear, cosine, one_minus_sqrt };

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::constant_with_warmup;
  int64_t warmup_steps = 2000;
  int64_t max_steps = 76294;  ///< the run's last step; cosine and linear end there

  double min_lr_ratio =
      0;  ///< cosine, linear, wsd: the end rate divided by the full rate (wsd warms up from it, too)
  double num_cycles = 0.5;  ///< cosine, and wsd with a cosine decay: waves until the end; 0.5 only falls

  /// wsd: steps at the full rate; absent: what warm-up and decay leave of max_steps.
  std::optional<int64_t> num_stable_steps;
  /// wsd: steps of the decay; absent: a tenth of max_steps.
  std::optional<int64_t> num_decay_steps;
  RampKind warmup_type = RampKind::linear;  ///< wsd only
  RampKind decay_type = RampKind::cosine;   ///< wsd only
};

/// Names as in a configuration: "constant_with_warmup" | "cosine" | "linear" | "wsd" (transformers'
/// "warmup_stable_decay" is the same), and "linear" | "cosine" | "1-sqrt". Unknown names throw UserError.
ScheduleKind schedule_kind(const std::string& name);
RampKind ramp_kind(const std::string& name);
std::string to_string(ScheduleKind kind);
std::string to_string(RampKind kind);

/// Broken rules, each a sentence with the key and the fix; empty where the schedule is sound.
std::vector<std::string> schedule_problems(const ScheduleConfig& config);

/// What multiplies the learning rate in `step` = 1, 2, ...; in [0, 1] for sound configurations. Steps beyond
/// max_steps are allowed and follow the same formula.
double learning_rate_factor(const ScheduleConfig& config, int64_t step);

}  // namespace pscale
