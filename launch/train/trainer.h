// A training run: from a configuration to the last step.
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>

#include "launch/checkpoint/resume.h"
#include "launch/metrics/run_log.h"
#include "launch/run_config.h"
#include "launch/stop_request.h"
#include "launch/train/run_data.h"
#include "launch/train/sample_source.h"
#include "launch/train/stragglers.h"
#include "launch/train/training.h"
#include "parallel/comm/last_collective.h"

namespace pscale {

/// The options of `Training` that a configuration asks for.
TrainingOptions training_options(const Config& config);

/// Ranks that must hold the same bits do not.
class DriftError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Trainer {
 public:
  /// `config` is resolved: its layout is the mesh's. Opens the data, takes memory, and loads the checkpoint to go on from.
  /// All arguments but the last must outlive this. `last` is told the steps. Throws Stopped on all ranks where one gets a
  /// signal meanwhile. Collective.
  Trainer(const Config& config, const Device& device, const Mesh& mesh, const StopRequest& stop, LastCollective& last,
          const ResumeRequest& request);

  enum class Ending : uint8_t { done, stopped };
  /// Trains to the last step, saving checkpoints; or to a step at which all ranks stop, because one was asked to: that step
  /// is saved then. Throws UserError where more than train.max_skipped_steps updates in a row are skipped,
  /// and DriftError where ranks no longer hold the same. What it throws is in the log.
  Ending run();

 private:
  struct Clock;
  void gather(MetricsRow& row, const StepTimes& times, double steps);
  void report(int64_t step, const StepResult& result, Clock& clock, bool logged);
  bool validate(const std::function<bool()>& asked_to_stop);
  void make_up_for_validation();
  Ending train();
  void count_skipped(int64_t step, const StepResult& result, double loss_limit);
  void check_drift(const RunPosition& position);
  void start();
  StopReason agreed_signal();
  void stop_if_asked();
  CarriedFiles tokenizer_files();
  void open_log(const std::optional<Resumed>& resumed);
  void say(const std::string& text);

  const Config* config_;
  const Device* device_;
  const Mesh* mesh_;
  const StopRequest* stop_;
  LastCollective* last_;
  BatchPlan plan_;
  RunData data_;
  Training training_;
  std::optional<RunLog> log_;         // on rank 0
  std::optional<double> peak_flops_;  // of all ranks together
  std::optional<double> validation_loss_;  // taken since the last logged step
  std::vector<std::pair<std::string, double>> validation_losses_;  // of each source, where there are several
  RunPosition position_;
  std::optional<StepLoader> loader_;
  int64_t checked_ = 0;  // the last step after which ranks were compared
  std::optional<Checkpointer> checkpointer_;
};

}  // namespace pscale
