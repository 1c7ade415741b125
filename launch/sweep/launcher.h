// How ranks are started: by srun or mpirun, whichever the place has, with the threads and binding that
// Slurm's allocation asks for.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/sweep/child_process.h"

namespace pscale {

/// What is asked of the process's surroundings; tests give their own.
struct Surroundings {
  std::function<std::optional<std::string>(const std::string&)>
      variable;                                         ///< of the environment; empty is absent
  std::function<bool(const std::string&)> has_program;  ///< in PATH
  std::function<bool()> srun_has_pmix;                  ///< whether `srun --mpi=list` names pmix
  int cores = 1;                                        ///< that this process may use
};
Surroundings real_surroundings();

struct LaunchRequest {
  std::string launcher = "auto";  ///< auto | srun | mpirun | none
  int ranks = 0;                  ///< 0: those of the allocation; 1 outside Slurm
  bool gpus = false;              ///< the program runs on them: a rank for each where there are more tasks
};

struct Launch {
  int ranks = 1;
  std::vector<std::string> words;  ///< before the program's own; empty: the program is started as it is
  std::vector<std::pair<std::string, std::string>> environment;  ///< variables to set
  std::string note;                                              ///< what the user should know, if anything
};

/// Inside a Slurm allocation: srun where it speaks PMIx, else mpirun. Outside: mpirun, or nothing for one
/// rank. Throws UserError where what is asked for is not there.
Launch find_launch(const LaunchRequest& request, const Surroundings& around);

/// Runs a command under a launch to its end, as run_child() does, whose `environment` is set here. The exit
/// code is that of the ranks, where the launcher has one of its own:
/// - srun ended with the code of a rank that it killed: that of the rank that ended by itself.
/// - srun could start no rank (the remains of a job that a node lost are in the way, say): it is tried
///   thrice, and `on_retry` is told; then kExitFailed, or kExitRunAgain if it was asked to stop meanwhile.
/// - rank 0 ended with kExitRunAgain: that, though Slurm may have ended mpirun's daemons before.
ChildExit run_launched(const Launch& launch, const std::vector<std::string>& command, ChildOptions options,
                       const std::function<void()>& on_retry = {});

/// The exit code that a line of srun's gives for a task: "srun: error: n1: task 0: Exited with exit code 2".
std::optional<int> srun_exit_code(const std::string& line);

/// Whether a line says that srun could not start a task: "srun: error: task 0 launch failed: Unspecified
/// error".
bool srun_failed_to_launch(const std::string& line);

/// A command as a line for a shell.
std::string shell_text(const Launch& launch, const std::vector<std::string>& command);

}  // namespace pscale
