// Why a run failed, in a word that `pscale_sweep status` shows.
#pragma once

#include <string>
#include <vector>

namespace pscale {

/// What is known about the end of a run.
struct RunEnd {
  int exit_code = 0;
  int signal = 0;                   ///< that killed the launcher, or 0
  bool asked_to_stop = false;       ///< by SIGTERM, SIGUSR1 or SIGINT
  bool kernel_killed = false;       ///< the kernel ended some process of this machine for memory meanwhile
  bool time_is_up = false;          ///< the job is within minutes of its time limit
  std::vector<std::string> errors;  ///< lines of standard error
  std::string job_state;            ///< Slurm's, such as TIMEOUT; empty where unknown
};

/// "config", "out of memory", "NaN", "loss spikes", "time limit", "node", "preempted", "cancelled", "stopped
/// by a signal", "killed by signal N" or "exit code N". Empty for a run that did not fail: exit codes 0, and
/// 75, which asks to be run again.
std::string failure_reason(const RunEnd& end);

/// The reason that a state of Slurm stands for; empty where it is none.
std::string reason_of_job_state(const std::string& state);

/// Whether a line of standard error may say why a run failed.
bool tells_why(const std::string& line);

}  // namespace pscale
