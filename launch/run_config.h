// The whole configuration of a run: sections [run], [train] and [log], which belong to the programs, and
// those that other folders declare beside their code. Made in main by load_config(); everything else gets its
// own section.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "data/config.h"
#include "models/parscale/model_config.h"
#include "parallel/checkpoint/checkpoint_config.h"
#include "parallel/grads/optimizer_config.h"
#include "parallel/mesh/parallel_config.h"

namespace pscale {

struct RunConfig {
  std::string dir = "runs/default";
  int64_t seed = 42;
  std::string device = "cpu";  ///< cpu | cuda
  int64_t threads = 0;         ///< per rank; 0: the cores of the machine / the ranks on it
  double max_minutes = 0;      ///< until it saves and stops, to be started again; 0: no limit
  double timeout_seconds = 600;  ///< without progress until the job is aborted; 0: never
  int64_t check_interval = 100;  ///< in steps; 0: ranks are never compared

  void describe(ConfigSection& section);
};

struct TrainConfig {
  int64_t max_steps = 76294;  ///< 20 billion tokens with the defaults below
  int64_t global_batch = 128;
  int64_t micro_batch = 1;
  int64_t sequence_length = 2048;
  std::string dtype = "float32";   ///< float32 | bfloat16
  std::string recompute = "none";  ///< none | attention | block
  bool freeze_pretrained = false;
  std::string init_from;
  int64_t max_skipped_steps = 3;
  std::optional<double> spike_z_score;  ///< standard deviations; absent: a loss is never too large
  int64_t spike_window = 100;           ///< losses
  int64_t bucket_mb = 25;  ///< MiB

  void describe(ConfigSection& section);
};

struct LogConfig {
  int64_t interval = 25;  ///< in steps
  bool tensorboard = true;
  std::optional<double> peak_flops;  ///< FLOP/s of all ranks together; absent: measured

  void describe(ConfigSection& section);
};

struct Config {
  RunConfig run;
  ModelConfig model;
  ParallelConfig parallel;
  TrainConfig train;
  OptimizerConfig optimizer;
  DataConfig data;
  CheckpointConfig checkpoint;
  LogConfig log;
  ConfigOrigins origins;              ///< where each value came from
  std::vector<std::string> warnings;  ///< what is allowed but probably not meant

  /// All sections in the order they are printed. They point into this struct.
  std::vector<ConfigSection> sections();
};

/// Reads a file and the `section.key=value` of the command line, and checks every rule that needs no
/// knowledge of the ranks. Throws UserError with all problems of all sources.
Config load_config(const std::string& path, const std::vector<std::string>& overrides);

/// The same for values that are read already, as a sweep puts them together; problems name the places they were written at.
Config load_config(ConfigTable values);

/// The same for a model that is only evaluated: nothing but the command line, and no global batch.
Config evaluation_config(const std::string& model, std::vector<std::string> overrides);

/// The resolved configuration as a file that load_config() reads back to the same values.
std::string to_toml(const Config& config);

/// Rules about where training starts and whether anything trains: freezing needs train.init_from and something that
/// ParScale adds. The parity program, which has weights of its own, does not ask it.
void check_start(const Config& config, std::vector<std::string>& problems);

/// Micro-batches of a step on each data rank, train.global_batch / (train.micro_batch * data_ranks). Throws
/// UserError where that is not whole, with the values of both keys that would make it so.
int64_t accumulation_steps(const Config& config, int64_t data_ranks);

}  // namespace pscale
