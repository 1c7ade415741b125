// A training run: from a configuration to the last step.
#pragma once

#include <optional>

#include "launch/checkpoint/resume.h"
#include "launch/metrics/run_log.h"
#include "launch/run_config.h"
#include "launch/train/run_data.h"
#include "launch/train/sample_source.h"
#include "launch/train/training.h"

namespace pscale {

/// The options of `Training` that a configuration asks for.
TrainingOptions training_options(const Config& config);

class Trainer {
 public:
  /// `config` is resolved: its layout is the mesh's. Opens the data, takes memory, and loads the checkpoint to go on from.
  /// Collective.
  Trainer(const Config& config, const Device& device, const Mesh& mesh, const ResumeRequest& request);

  /// Trains to the last step, saving checkpoints. Throws UserError where more than train.max_skipped_steps updates in a row are skipped.
  void run();

 private:
  struct Clock;
  void report(int64_t step, const StepResult& result, Clock& clock, bool logged);
  void validate();
  void start();
  CarriedFiles tokenizer_files();
  void open_log(const std::optional<Resumed>& resumed);
  void say(const std::string& text);

  const Config* config_;
  const Device* device_;
  const Mesh* mesh_;
  BatchPlan plan_;
  RunData data_;
  Training training_;
  std::optional<RunLog> log_;         // on rank 0
  std::optional<double> peak_flops_;  // of all ranks together
  std::optional<double> validation_loss_;  // taken since the last logged step
  std::vector<std::pair<std::string, double>> validation_losses_;  // of each source, where there are several
  RunPosition position_;
  std::optional<Checkpointer> checkpointer_;
};

}  // namespace pscale
