#include "launch/sweep/run_point.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <thread>

#include "core/base/errors.h"
#include "launch/checkpoint/checkpoint_folder.h"
#include "launch/metrics/run_log.h"
#include "launch/program.h"
#include "launch/sweep/failure.h"

namespace pscale {
namespace {

constexpr size_t kErrorLines = 12;
// Slurm warns the job scripts 120 s before the time limit, and up to a minute earlier.
constexpr double kNearLimit = 190;
// Preemptions one after another may end as many lives before a step; a job that is too short ends all.
constexpr int kIdleLives = 5;
constexpr std::chrono::minutes kLostLock{3};

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
  void clear() {
    telling_.clear();
    others_.clear();
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

/// A machine that failed may hold its locks until the file server notices: the job that Slurm has started
/// elsewhere since then is the run's only one. Nothing where a signal comes meanwhile.
std::optional<RunLock> outwait(const SweepRun& run) {
  std::cout << "the lock of the machine that failed is waited for" << std::endl;
  const auto end = std::chrono::steady_clock::now() + kLostLock;
  while (!stop_is_pending()) {
    if (auto lock = RunLock::take(run.folder())) return lock;
    if (std::chrono::steady_clock::now() > end) return RunLock::none();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  return std::nullopt;
}

/// The array's task of a requeued job counts through the sweep anew: an edited one may have another run
/// there.
void check_same_as_before(const Sweep& sweep, const SweepRun& run, const std::string& job) {
  const char* lives = std::getenv("SLURM_RESTART_COUNT");
  if (!lives || std::atoi(lives) == 0 || job.find('_') == std::string::npos) return;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(sweep.dir, missing)) {
    if (std::filesystem::equivalent(entry.path(), run.folder(), missing)) continue;
    const auto record = read_record(entry.path());
    if (record && record->job == job)
      throw UserError(cat("job ", job, " began with ", entry.path().string(), ", but run ", run.index,
                          " of the sweep is ", run.folder().string(),
                          " now; set the sweep back, or submit the runs anew (pscale_sweep run --failed)"));
  }
}

int64_t saved_step(const SweepRun& run) {
  const auto saved = CheckpointFolder(run.folder() / "checkpoints").list();
  return saved.empty() ? 0 : saved[0].step;
}

/// The record of a life that is over. `saved` is the step that it began with.
void finish(const SweepRun& run, RunRecord& record, const ChildExit& ended, int64_t saved) {
  record.running = false;
  record.ended = wall_time();
  record.exit_code = ended.code;
  record.signal = ended.signal;
  if (ended.code != kExitRunAgain || saved_step(run) > saved) {
    record.idle_lives = 0;
  } else if (++record.idle_lives >= kIdleLives) {
    record.exit_code = kExitFailed;
    record.reason = "time limit";
    record.errors = {cat("error: no step was saved in ", record.idle_lives,
                         " lives: the job's time is shorter than its start and what the stop takes, or it is "
                         "preempted again and again; give it more time")};
    record.idle_lives = 0;
    std::cerr << record.errors[0] << std::endl;
  }
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

ChildExit run_to_end(const Sweep& sweep, const SweepRun& run, const Launch& launch) {
  const std::string job = this_slurm_job();
  check_same_as_before(sweep, run, job);
  std::optional<RunLock> lock = RunLock::take(run.folder());
  std::optional<RunRecord> before = read_record(run.folder());
  if (!lock && before && before->running && !job.empty() && before->job == job &&
      before->host != host_name()) {
    auto waited = outwait(run);
    if (!waited) return {.code = kExitRunAgain, .asked_to_stop = true};
    lock.emplace(std::move(*waited));
  }
  if (!lock)
    throw UserError(cat(run.folder().string(), ": it is running already",
                        before ? cat(" on ", before->host, ", process ", before->process) : "",
                        before && !before->job.empty() ? cat(", job ", before->job) : "",
                        "; wait for its end, or cancel it"));
  if (before) check_not_elsewhere(run, *before, job);
  if (before && !before->running && before->exit_code == kExitDone) {
    if (const std::string changes = changed_since(run, *before); !changes.empty())
      throw UserError(cat(run.folder().string(), ": it was done with other values: ", changes,
                          "; set sweep.dir to another folder, or move this one away"));
    std::cout << "run " << run.index << " (" << run.name << ") is done: there is nothing to do\n";
    return {};
  }

  const std::vector<std::string> command = train_command(sweep, run);
  RunRecord record;
  record.running = true;
  record.overrides = {run.overrides.begin(), run.overrides.end() - 1};
  record.values = values_that_count(run.config);
  record.command = shell_text(launch, command);
  record.host = host_name();
  record.process = getpid();
  record.job = job;
  record.started = wall_time();
  record.idle_lives = before && before->job == job ? before->idle_lives : 0;
  write_record(run.folder(), record);
  std::cout << "run " << run.index << " (" << run.name << "): " << record.command << std::endl;

  LastLines lines;
  const long kills = kernel_kills();
  const int64_t saved = saved_step(run);
  ChildExit ended;
  try {
    ended = run_launched(launch, command,
                         {.on_error_line = [&](const std::string& line) { lines.add(line); },
                          .on_minute = [&] { touch_record(run.folder()); }},
                         [&] { lines.clear(); });
  } catch (const std::exception& failure) {
    finish(run, record, {.code = dynamic_cast<const UserError*>(&failure) ? kExitUserError : kExitFailed},
           saved);
    record.reason = cat("exit code ", record.exit_code);
    record.errors = {cat("error: ", failure.what())};
    write_record(run.folder(), record);
    throw;
  }
  finish(run, record, ended, saved);
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
  ended.code = record.exit_code;
  return ended;
}

}  // namespace pscale
