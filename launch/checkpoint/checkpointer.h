// Saving a run's checkpoints: when, by whom, and without holding training up.
//
// At a save every rank copies the state it owns, and a thread of each rank writes its shard. After every step the ranks
// agree in one small all-reduce whether all are through; then a thread of rank 0 writes the files over the shards and the
// manifest, and gives the folder its name. No thread but the trainer's talks to other ranks. A save that takes a fraction
// of a second is waited for, so that a job that dies later has lost nothing of it.
//
// The same all-reduce tells whether any rank was asked to stop the run, so all ranks stop after the same step.
#pragma once

#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "launch/checkpoint/checkpoint_folder.h"
#include "launch/stop_request.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/checkpoint_config.h"

namespace pscale {

/// Where a run is after a step, beside weights and moments.
struct RunPosition {
  int64_t step = 0, next_sample = 0, skipped_steps = 0, skipped_in_a_row = 0;
  bool validation_pending = false;  ///< this step's validation was abandoned; it is made up for when the run goes on
  std::vector<double> recent_losses;  ///< of the rule for spikes, oldest first
};

class Checkpointer {
 public:
  /// `about`: what every manifest of the run says (configuration, model, data). `say`: a line for the log, on rank 0.
  /// `before_save` is called on all ranks before they copy what is saved, and may throw. `parameters`, `optimizer` and `stop`
  /// must outlive this.
  Checkpointer(const CheckpointConfig& config, CheckpointFolder folder, const Mesh& mesh, const ParameterSet& parameters,
               const ShardedAdamW& optimizer, const StopRequest& stop, Manifest about, CarriedFiles carried,
               std::function<void(const RunPosition&)> before_save, std::function<void(const std::string&)> say);
  /// Waits for what is being written; it stays a leftover where ranks could not agree any more.
  ~Checkpointer();

  /// After every step, on all ranks: starts a save where one is due and brings an earlier one further. `last`: saves and
  /// waits; so it does where a rank was asked to stop, and returns why. A save that fails is told to the log; the second in
  /// a row throws UserError. Collective.
  StopReason after_step(const RunPosition& position, bool last);

  /// Why the run is to stop, as all ranks agree; for the time between two steps. Collective.
  StopReason stop_reason();

 private:
  enum class Phase : uint8_t { idle, shards, whole };
  struct Agreed {
    bool time_is_up, running;
  };
  Agreed agree(bool time_is_up);
  void begin(const RunPosition& position);
  void advance();
  void wait();
  void wait_while_bytes_move();
  void wait_briefly();
  void give_up(const std::vector<std::string>& problems);
  bool is_root() const { return mesh_->rank() == 0; }

  CheckpointConfig config_;
  CheckpointFolder folder_;
  const Mesh* mesh_;
  Communicator* world_;
  const ParameterSet* parameters_;
  const ShardedAdamW* optimizer_;
  const StopRequest* stop_;
  Manifest about_;
  CarriedFiles carried_;
  std::function<void(const RunPosition&)> before_save_;
  std::function<void(const std::string&)> say_;

  Phase phase_ = Phase::idle;
  StopReason stopping_ = StopReason::none;  ///< the same on all ranks
  Manifest manifest_;                 ///< of the checkpoint that is being written
  std::future<FileRecord> shard_;     ///< this rank's
  std::future<int64_t> whole_;        ///< rank 0's: bytes of the checkpoint
  int failures_ = 0;                  ///< in a row
  double last_begin_;                 ///< of a save, on the clock
  double entered_ = 0;                ///< after_step(), or begin() in it
  double stall_ = 0;                  ///< seconds that training waited for this save before that
};

}  // namespace pscale
