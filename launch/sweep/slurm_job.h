// What Slurm says about a job, where there is a Slurm.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>

namespace pscale {

/// Asks squeue, sacct and scontrol, each job once.
class SlurmJobs {
 public:
  /// RUNNING, PENDING, COMPLETED, TIMEOUT, NODE_FAIL, OUT_OF_MEMORY, CANCELLED, ...; empty where nobody
  /// knows.
  std::string state(const std::string& job);
  /// Seconds until the job's time limit; nothing where it has none, or nobody knows.
  std::optional<double> seconds_left(const std::string& job);
  /// Whether a Slurm answers here at all, so that a job it does not know is over.
  bool answers();

 private:
  struct Answer {
    std::string state;
    std::optional<double> seconds_left;
  };
  const Answer& ask(const std::string& job);
  std::map<std::string, Answer> answers_;
  std::optional<bool> is_up_;
};

/// Slurm's name for the job this process is in, "7" or "7_3" (of an array's task by its number: the id of the
/// last task is that of the whole array); empty outside a job.
std::string this_slurm_job();

/// Whether Slurm has chosen the job for preemption: it ends after the partition's GraceTime. False where that
/// is given up before Slurm answers.
bool is_being_preempted(const std::string& job, const std::stop_token& give_up = {});

/// Slurm's durations, "1-02:03:04" or "03:04", in seconds; nothing for UNLIMITED and the like.
std::optional<double> slurm_seconds(const std::string& text);

}  // namespace pscale
