// The log of a run: one call per step writes metrics.jsonl, TensorBoard events, log.txt and the progress
// display. Knows no MPI: rank 0 makes one, the other ranks none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/metrics/append_file.h"
#include "launch/metrics/console.h"
#include "launch/metrics/metrics_row.h"
#include "launch/metrics/progress.h"
#include "launch/metrics/tensorboard.h"

namespace pscale {

struct RunLogOptions {
  std::filesystem::path folder;  ///< run.dir; made where missing
  bool tensorboard = true;
  int64_t max_steps = 0;
  /// Of a run that goes on: rows of later steps are dropped from metrics.jsonl. Absent: all rows stay.
  std::optional<int64_t> done_steps;
  Console console;  ///< find_console() in programs
};

/// Drops the rows of steps after `step` from a metrics.jsonl, and a torn last one. The file is replaced as a whole.
void drop_rows_after(const std::filesystem::path& metrics, int64_t step);

/// Adds a line with the time to a log.txt that is there; for what ends a run that has no RunLog, or hangs in it. Nothing where
/// it cannot be written.
void add_to_log(const std::filesystem::path& log, const std::string& line);

/// Seconds since 1970, wall clock.
double wall_time();

class RunLog {
 public:
  /// Appends to the files of an earlier run in the folder. Throws UserError that names what cannot be
  /// written.
  explicit RunLog(const RunLogOptions& options);

  /// After every step. Only `logged` steps reach the files; the others move a terminal's progress line.
  void step(const MetricsRow& row, bool logged);
  /// Adds a validation that was taken later to the row of `step` that is already written, where there is one.
  void add_validation(int64_t step, double loss, const std::vector<std::pair<std::string, double>>& losses);
  /// A line for log.txt and the console.
  void message(const std::string& text);
  /// A line for log.txt alone: the error that ends the run, which main prints.
  void record(const std::string& text);

 private:
  AppendFile metrics_;
  std::optional<TensorBoardWriter> tensorboard_;
  RunProgress progress_;
};

}  // namespace pscale
