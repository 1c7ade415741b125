// A golden case: a folder with config.json, model.safetensors, expected.json and expected.safetensors, as
// docs/numerics.md describes it.
#pragma once

#include <optional>

#include "models/hf/safetensors.h"
#include "models/parscale/model_config.h"
#include "parallel/grads/optimizer_config.h"

namespace pscale {

struct GoldenCase {
  ModelConfig model;
  SafetensorsFile weights, expected;
  double loss = 0;                          ///< of `tokens`
  std::vector<double> losses, grad_norms;   ///< of the training run
  OptimizerConfig optimizer;
  int64_t steps = 0, warmup_steps = 0;
  bool freeze_pretrained = false;
  int64_t sequences = 0, length = 0;        ///< tokens [sequences, length + 1], batches [steps, sequences, length + 1]
};

/// Throws UserError naming the file and what is wrong with it.
GoldenCase read_golden_case(const std::string& folder);

}  // namespace pscale
