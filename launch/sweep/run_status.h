// Where a run of a sweep is, from the files of its folder, and from Slurm where that can be asked.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/sweep/run_metrics.h"
#include "launch/sweep/run_record.h"
#include "launch/sweep/slurm_job.h"
#include "launch/sweep/sweep_points.h"

namespace pscale {

enum class RunState : uint8_t { waiting, running, done, failed };
std::string to_string(RunState state);

struct RunStatus {
  RunState state = RunState::waiting;
  std::string reason;                  ///< of a failed run (failure.h); what a waiting one waits for
  std::vector<std::string> errors;     ///< of a failed run: the lines that say why
  int64_t step = 0, max_steps = 0;     ///< the last logged step
  std::optional<double> seconds_left;  ///< of a running one
  std::string other_values;            ///< changed_since(): its numbers are not those of this sweep
  std::optional<RunRecord> record;
};

/// `rows` are the run's metrics.
RunStatus status_of(const SweepRun& run, const std::vector<RunRow>& rows, SlurmJobs& slurm);

/// The values of a run that decide its results and their number, wherever they come from, the base included:
/// all but those that may change when a run goes on, and train.max_steps. "section.key" -> text.
std::map<std::string, std::string> values_that_count(const Config& config);

/// Where a run was begun with values that the sweep now sets otherwise: a sentence that says which.
std::string changed_since(const SweepRun& run, const RunRecord& record);

/// A line for each run, and how many there are of each kind.
std::string status_text(const std::vector<SweepRun>& runs, const std::vector<RunStatus>& states);

}  // namespace pscale
