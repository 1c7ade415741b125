#include "launch/sweep/run_status.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <sstream>

#include "core/base/text.h"
#include "launch/checkpoint/resume.h"
#include "launch/metrics/format.h"
#include "launch/program.h"
#include "launch/sweep/failure.h"

namespace pscale {
namespace {

// A run may go on with more of them, but it is not the same run then.
constexpr const char* kMaxSteps = "train.max_steps";

/// Whether the process that a record names is alive.
bool alive(const SweepRun& run, const RunRecord& record, SlurmJobs& slurm) {
  if (record.host == host_name()) return RunLock::held(run.folder());
  const std::string state = slurm.state(record.job);
  if (!state.empty() && state != "RUNNING" && state != "COMPLETING" && state != "SUSPENDED") return false;
  return record_age(run.folder()) < kSilentSeconds;
}

/// Of a run that ended without a word.
std::string silent_end(const RunRecord& record, const std::string& job_state) {
  if (const std::string reason = reason_of_job_state(job_state); !reason.empty()) return reason;
  return record.job.empty() ? "killed without a trace" : "node or time limit: the job ended without a trace";
}

/// Whether a job that stopped after saving will go on, or may: nothing is known for sure at its very end.
bool goes_on(const SweepRun& run, const RunRecord& record, SlurmJobs& slurm) {
  if (record.job.empty()) return true;
  const std::string state = slurm.state(record.job);
  if (state.empty()) return !slurm.answers() || record_age(run.folder()) < 2 * kSilentSeconds;
  const auto is = [&](const char* name) { return state.starts_with(name); };
  return is("PENDING") || is("RUNNING") || is("COMPLETING") || is("REQUEUE") || is("CONFIGURING") ||
         is("SUSPENDED") || is("STOPPED") || is("RESIZING") || is("SIGNALING") || is("STAGE_OUT") ||
         is("SPECIAL_EXIT") || is("RESV_DEL_HOLD");
}

std::optional<double> time_left(const std::vector<RunRow>& rows, int64_t max_steps) {
  RemainingTime remaining;
  int64_t before = 0;
  for (const RunRow& row : rows) {
    if (row.step_seconds.known())
      remaining.add(row.step_seconds.value, std::max<int64_t>(1, row.step - before));
    before = row.step;
  }
  const double seconds = remaining.seconds_left(max_steps - before);
  return seconds >= 0 ? std::optional(seconds) : std::nullopt;
}

}  // namespace

std::string to_string(RunState state) {
  switch (state) {
    case RunState::waiting: return "waiting";
    case RunState::running: return "running";
    case RunState::done: return "done";
    case RunState::failed: return "failed";
  }
  return "";
}

RunStatus status_of(const SweepRun& run, const std::vector<RunRow>& rows, SlurmJobs& slurm) {
  RunStatus status;
  status.max_steps = run.config.train.max_steps;
  if (!rows.empty()) status.step = rows.back().step;
  status.record = read_record(run.folder());
  if (!status.record) {
    if (status.step >= status.max_steps) status.state = RunState::done;
    return status;
  }
  const RunRecord& record = *status.record;
  status.other_values = changed_since(run, record);
  if (!record.running) {
    status.reason = record.reason;
    if (record.exit_code == kExitDone) {
      status.state = RunState::done;
    } else if (record.exit_code == kExitRunAgain) {
      status.reason = "stopped after saving, to be run again";
      if (!goes_on(run, record, slurm)) {
        status.state = RunState::failed;
        status.reason = reason_of_job_state(slurm.state(record.job));
        if (status.reason.empty()) status.reason = "stopped, not queued again";
      }
    } else {
      status.state = RunState::failed;
      status.errors = record.errors;
      // While a job is being ended Slurm does not say why; afterwards it does.
      if (record.reason.find("signal") != std::string::npos || record.reason == "time limit")
        if (const std::string reason = reason_of_job_state(slurm.state(record.job)); !reason.empty())
          status.reason = reason;
    }
    return status;
  }
  if (alive(run, record, slurm)) {
    status.state = RunState::running;
    status.seconds_left = time_left(rows, status.max_steps);
    return status;
  }
  const std::string job_state = slurm.state(record.job);
  if (job_state == "PENDING" || job_state == "REQUEUED" || job_state == "CONFIGURING") {
    status.reason = cat("job ", record.job, " is queued again");
    return status;
  }
  status.state = RunState::failed;
  status.reason = silent_end(record, job_state);
  return status;
}

std::map<std::string, std::string> values_that_count(const Config& config) {
  auto values = lasting_values(to_toml(config), "configuration");
  values[kMaxSteps] = cat(config.train.max_steps);
  return values;
}

std::string changed_since(const SweepRun& run, const RunRecord& record) {
  std::vector<std::string> changes;
  // A key that only one of them knows came or went with a version of the program.
  for (const auto& [key, now] : values_that_count(run.config))
    if (const auto then = record.values.find(key); then != record.values.end() && then->second != now)
      changes.push_back(cat(key, " (now ", now, ", then ", then->second, ")"));
  return join(changes, ", ");
}

std::string status_text(const std::vector<SweepRun>& runs, const std::vector<RunStatus>& states) {
  size_t width = 0;
  for (const SweepRun& run : runs) width = std::max(width, run.name.size());
  std::ostringstream out;
  std::map<RunState, int> count;
  for (size_t i = 0; i < runs.size(); ++i) {
    const RunStatus& s = states[i];
    ++count[s.state];
    out << std::setw(4) << runs[i].index << "  " << std::left << std::setw(static_cast<int>(width))
        << runs[i].name << "  " << std::setw(8) << to_string(s.state) << std::right;
    if (s.step > 0) out << "  step " << s.step << "/" << s.max_steps;
    if (s.seconds_left) out << "  eta " << format_duration(*s.seconds_left);
    if (!s.reason.empty()) out << "  " << s.reason;
    if (!s.other_values.empty()) out << "  other values: " << s.other_values;
    out << "\n";
    for (const std::string& line : s.errors) out << "        " << line << "\n";
  }
  std::vector<std::string> parts;
  for (const RunState state : {RunState::waiting, RunState::running, RunState::done, RunState::failed})
    parts.push_back(cat(count[state], " ", to_string(state)));
  out << join(parts, ", ") << "\n";
  return out.str();
}

}  // namespace pscale
