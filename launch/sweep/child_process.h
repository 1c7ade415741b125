// Programs that this one starts: the launcher of a run, and the small commands that ask Slurm.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace pscale {

/// How a child ended.
struct ChildExit {
  int code = 0;                ///< 128 + signal where one killed it
  int signal = 0;              ///< that killed it, or 0
  bool asked_to_stop = false;  ///< SIGTERM, SIGUSR1 or SIGINT came meanwhile, or should_stop said so
};

/// Keeps SIGTERM, SIGUSR1 and SIGINT from ending this process, from here to its end: run_child() waits for
/// them, and one that comes while no child runs stays pending. Made before all threads.
void keep_stop_signals();

/// Whether one of them came and nobody took it.
bool stop_is_pending();

struct ChildOptions {
  std::vector<std::pair<std::string, std::string>> environment;  ///< to set besides this process's own
  std::function<void(const std::string&)>
      on_error_line;                ///< each line of its standard error, without the break
  std::function<void()> on_minute;  ///< about twice a minute while it runs
  /// Asked about twice a minute in a thread of its own, for it may take long; true: send it SIGUSR1.
  /// It is told to give up once the child has ended.
  std::function<bool(std::stop_token)> should_stop;
};

/// Runs a command to its end. Its standard error is passed on line by line. SIGTERM and SIGUSR1 are passed on
/// as SIGUSR1, which mpirun and srun hand to their ranks (mpirun's own answer to SIGTERM is to kill them),
/// again every ten seconds: one that comes while ranks start is lost. Where a signal is pending already the
/// command is not started: kExitRunAgain, as where SIGUSR1 ended it after all. Throws UserError where it
/// cannot be started. Any thread but one at a time: the signals are blocked meanwhile.
ChildExit run_child(const std::vector<std::string>& command, const ChildOptions& options);

/// Standard output and error of a command that ends within seconds; nothing where it cannot be started,
/// fails, takes longer, or is given up.
std::optional<std::string> output_of(const std::vector<std::string>& command,
                                     const std::stop_token& give_up = {});

}  // namespace pscale
