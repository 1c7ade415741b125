#include "launch/sweep/run_point.h"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <iostream>

#include "core/base/errors.h"
#include "launch/metrics/run_log.h"
#include "launch/program.h"
#include "launch/sweep/failure.h"

namespace pscale {
namespace {

constexpr size_t kErrorLines = 12;
// Slurm warns the job scripts 120 s before the time limit, and up to a minute earlier.
constexpr double kNearLimit = 190;

/// Processes that the kernel has ended for memory since the machine started.
long kernel_kills() {
  std::ifstream file("/proc/vmstat");
  long count = 0;
  for (std::string key; file >> key >> count;)
    if (key == "oom_kill") return count;
  return 0;
}

/// The last lines of standard error, those that say why before those that do not.
class LastLines {
 public:
  void add(const std::string& line) {
    if (line.empty()) return;
    std::deque<std::string>& into = tells_why(line) ? telling_ : others_;
    into.push_back(line.substr(0, 1000));
    if (into.size() > kErrorLines) into.pop_front();
  }
  std::vector<std::string> lines() const {
    const std::deque<std::string>& from = telling_.empty() ? others_ : telling_;
    return {from.begin(), from.end()};
  }
  /// Both kinds: a reason may stand in either.
  std::vector<std::string> all() const {
    std::vector<std::string> lines(telling_.begin(), telling_.end());
    lines.insert(lines.end(), others_.begin(), others_.end());
    return lines;
  }

 private:
  std::deque<std::string> telling_, others_;
};

/// Refuses a run that another machine works on: its lock may not be seen here.
void check_not_elsewhere(const SweepRun& run, const RunRecord& record, const std::string& job) {
  if (!record.running || record.host == host_name()) return;
  if (!job.empty() && record.job == job) return;  // requeued: the job's earlier life is over
  SlurmJobs slurm;
  const RunStatus status = status_of(run, {}, slurm);
  if (status.state != RunState::running) return;
  throw UserError(cat(run.folder().string(), ": ", record.host, " is running it",
                      record.job.empty() ? "" : cat(" in job ", record.job),
                      "; wait for its end (pscale_sweep status), or cancel it"));
}

}  // namespace

std::filesystem::path program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

std::vector<std::string> train_command(const Sweep& sweep, const SweepRun& run) {
  std::vector<std::string> command{(program_folder() / "pscale_train").string(), sweep.base.string()};
  command.insert(command.end(), run.overrides.begin(), run.overrides.end());
  command.insert(command.end(), {"--resume", "auto"});
  return command;
}

int run_to_end(const Sweep& sweep, const SweepRun& run, const Launch& launch) {
  const std::optional<RunLock> lock = RunLock::take(run.folder());
  std::optional<RunRecord> before = read_record(run.folder());
  if (!lock)
    throw UserError(cat(run.folder().string(), ": it is running already",
                        before ? cat(" on ", before->host, ", process ", before->process) : "",
                        before && !before->job.empty() ? cat(", job ", before->job) : "",
                        "; wait for its end, or cancel it"));
  const std::string job = this_slurm_job();
  if (before) check_not_elsewhere(run, *before, job);
  if (before && !before->running && before->exit_code == kExitDone) {
    if (const std::string changes = changed_since(run, *before); !changes.empty())
      throw UserError(cat(run.folder().string(), ": it was done with other values: ", changes,
                          "; set sweep.dir to another folder, or move this one away"));
    std::cout << "run " << run.index << " (" << run.name << ") is done: there is nothing to do\n";
    return kExitDone;
  }

  const std::vector<std::string> command = train_command(sweep, run);
  RunRecord record;
  record.running = true;
  record.overrides = {run.overrides.begin(), run.overrides.end() - 1};
  record.command = shell_text(launch, command);
  record.host = host_name();
  record.process = getpid();
  record.job = job;
  record.started = wall_time();
  write_record(run.folder(), record);
  std::cout << "run " << run.index << " (" << run.name << "): " << record.command << std::endl;

  LastLines lines;
  const long kills = kernel_kills();
  const ChildExit ended = run_launched(launch, command,
                                       {.on_error_line = [&](const std::string& line) { lines.add(line); },
                                        .on_minute =
                                            [&] {
                                              touch_record(run.folder());
                                              return false;
                                            }});
  record.running = false;
  record.ended = wall_time();
  record.exit_code = ended.code;
  record.signal = ended.signal;
  if (ended.code != kExitDone && ended.code != kExitRunAgain) {
    SlurmJobs slurm;
    record.reason = failure_reason({.exit_code = ended.code,
                                    .signal = ended.signal,
                                    .asked_to_stop = ended.asked_to_stop,
                                    .kernel_killed = kernel_kills() > kills,
                                    .time_is_up = slurm.seconds_left(job).value_or(1e9) < kNearLimit,
                                    .errors = lines.all(),
                                    .job_state = slurm.state(job)});
    record.errors = lines.lines();
  }
  write_record(run.folder(), record);
  return ended.code;
}

}  // namespace pscale
