#include "parallel/grads/optimizer_config.h"

#include <algorithm>

#include "core/base/text.h"

namespace pscale {

ScheduleConfig OptimizerConfig::schedule_config(int64_t max_steps) const {
  return {.kind = schedule_kind(schedule),
          .warmup_steps = warmup_steps,
          .max_steps = max_steps,
          .min_lr_ratio = min_lr_ratio,
          .num_cycles = num_cycles,
          .num_stable_steps = num_stable_steps,
          .num_decay_steps = num_decay_steps,
          .warmup_type = ramp_kind(warmup_type),
          .decay_type = ramp_kind(decay_type)};
}

void OptimizerConfig::describe(ConfigSection& section) {
  const std::vector<std::string> ramps{"linear", "cosine", "1-sqrt"};
  section.add("learning_rate", learning_rate, "Peak learning rate", above(0));
  section.add("beta1", beta1, "Decay of Adam's first moment", at_least_below(0, 1));
  section.add("beta2", beta2, "Decay of Adam's second moment", at_least_below(0, 1));
  section.add("eps", eps, "Added to the root of Adam's second moment", above(0));
  section.add("weight_decay", weight_decay,
              "Decoupled decay of matrices; norms, biases and prefixes never decay", at_least(0));
  section.add("grad_clip", grad_clip, "Largest global gradient norm; 0: no clipping", at_least(0));
  section.add("schedule", schedule, "How the learning rate goes after the warm-up",
              one_of({"constant_with_warmup", "cosine", "linear", "wsd"}));
  section.add("warmup_steps", warmup_steps, "Steps in which the learning rate rises", at_least(0));
  section.add("min_lr_ratio", min_lr_ratio, "cosine, linear, wsd: the last learning rate divided by the peak",
              between(0, 1));
  section.add("num_cycles", num_cycles,
              "cosine, and wsd with a cosine decay: waves until the end; 0.5 only falls", at_least(0));
  section.add("num_stable_steps", num_stable_steps,
              "wsd: steps at the peak; none: what warm-up and decay leave of max_steps", at_least(0));
  section.add("num_decay_steps", num_decay_steps, "wsd: steps of the decay; none: a tenth of max_steps",
              at_least(0));
  section.add("warmup_type", warmup_type, "wsd: shape of the warm-up", one_of(ramps));
  section.add("decay_type", decay_type, "wsd: shape of the decay", one_of(ramps));
}

void OptimizerConfig::check(int64_t max_steps, const ConfigOrigins& origins,
                            std::vector<std::string>& problems) const {
  const ScheduleConfig config = schedule_config(max_steps);
  const std::vector<std::string> broken = schedule_problems(config);
  for (const std::string& problem : broken) problems.push_back(origins.placed(problem));
  if (!broken.empty()) return;
  // Almost always the first step ends this; a run that never learns has few steps or no ramp at all.
  const int64_t looked_at = std::min<int64_t>(max_steps, 1'000'000);
  for (int64_t step = 1; step <= looked_at; ++step)
    if (learning_rate_factor(config, step) > 0) return;
  problems.push_back(cat(origins.name("optimizer.schedule"), " = ", schedule,
                         " with train.max_steps = ", max_steps,
                         " gives every step a learning rate of 0, so nothing would train; raise "
                         "optimizer.min_lr_ratio or train.max_steps"));
}

}  // namespace pscale
