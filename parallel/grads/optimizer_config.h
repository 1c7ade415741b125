// Section [optimizer]: AdamW, clipping and the learning-rate schedule. Defaults are those of the original
// project.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "parallel/grads/schedule.h"

namespace pscale {

struct OptimizerConfig {
  double learning_rate = 3e-4;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  ///< on matrices only
  double grad_clip = 1.0;   ///< largest global gradient norm; 0: no clipping

  std::string schedule = "constant_with_warmup";
  int64_t warmup_steps = 2000;
  // The rest as in ScheduleConfig, under transformers' names.
  double min_lr_ratio = 0;
  double num_cycles = 0.5;
  std::optional<int64_t> num_stable_steps;
  std::optional<int64_t> num_decay_steps;
  std::string warmup_type = "linear";
  std::string decay_type = "cosine";

  /// The schedule of a run of `max_steps` steps.
  ScheduleConfig schedule_config(int64_t max_steps) const;

  void describe(ConfigSection& section);
  /// Adds the broken rules of the schedule, among them a learning rate that is zero in every step.
  void check(int64_t max_steps, const ConfigOrigins& origins, std::vector<std::string>& problems) const;
};

}  // namespace pscale
