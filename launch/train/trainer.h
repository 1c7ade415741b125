// A training run: from a configuration to the last step.
#pragma once

#include <optional>

#include "launch/metrics/run_log.h"
#include "launch/run_config.h"
#include "launch/train/sample_source.h"
#include "launch/train/training.h"

namespace pscale {

/// The options of `Training` that a configuration asks for.
TrainingOptions training_options(const Config& config);

class Trainer {
 public:
  /// `config` is resolved: its layout is the mesh's. Opens the data and takes memory. Collective.
  Trainer(const Config& config, const Device& device, const Mesh& mesh);

  /// Trains to the last step. Throws UserError where more than train.max_skipped_steps updates in a row are skipped.
  void run();

 private:
  struct Clock;
  void report(int64_t step, const StepResult& result, Clock& clock, bool logged);
  std::optional<double> validate();
  void say(const std::string& text);

  const Config* config_;
  const Device* device_;
  const Mesh* mesh_;
  BatchPlan plan_;
  TokenDataset train_;
  std::optional<TokenDataset> validation_;
  Training training_;
  std::optional<RunLog> log_;         // on rank 0
  std::optional<double> peak_flops_;  // of all ranks together
  std::optional<double> validation_loss_;
  int64_t skipped_in_a_row_ = 0, skipped_ = 0;
};

}  // namespace pscale
