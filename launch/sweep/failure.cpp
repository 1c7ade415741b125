#include "launch/sweep/failure.h"

#include <algorithm>
#include <csignal>
#include <initializer_list>

#include "core/base/text.h"
#include "launch/program.h"

namespace pscale {
namespace {

bool has_any(const std::string& line, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const char* part) { return line.find(part) != std::string::npos; });
}

bool any_line(const std::vector<std::string>& lines, std::initializer_list<const char*> parts) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return has_any(line, parts); });
}

}  // namespace

std::string reason_of_job_state(const std::string& state) {
  const auto is = [&](const char* name) { return state.starts_with(name); };
  if (is("OUT_OF_ME")) return "out of memory";
  if (is("TIMEOUT") || is("DEADLINE")) return "time limit";
  if (is("NODE_FAIL") || is("BOOT_FAIL")) return "node";
  if (is("PREEMPTED")) return "preempted";
  if (is("CANCELLED")) return "cancelled";
  return "";
}

std::string failure_reason(const RunEnd& end) {
  if (end.exit_code == kExitDone || end.exit_code == kExitRunAgain) return "";
  // The words of slurmstepd, the kernel, the C++ library, CUDA and pscale itself.
  if (any_line(end.errors, {"oom-kill", "oom_kill", "Out Of Memory", "OUT_OF_MEMORY", "out of memory",
                            "bad_alloc", "cudaErrorMemoryAllocation"}))
    return "out of memory";
  // A run that skipped spikes and NaNs alike names both.
  if (any_line(end.errors, {"(train.spike_z_score"})) return "loss spikes";
  if (any_line(end.errors, {"is not finite", "are not finite"})) return "NaN";
  if (end.exit_code == kExitUserError) return "config";
  if (any_line(end.errors, {"DUE TO TIME LIMIT"})) return "time limit";
  if (any_line(end.errors, {"DUE TO NODE FAILURE", "NODE_FAIL", "Node failure", " launch failed: "}))
    return "node";
  if (any_line(end.errors, {"DUE TO PREEMPTION"})) return "preempted";
  // A rank's abort lets srun say the same, but nobody asked for that.
  if (end.asked_to_stop && any_line(end.errors, {"CANCELLED AT"})) return "cancelled";
  if (const std::string reason = reason_of_job_state(end.job_state); !reason.empty()) return reason;
  const int signal = end.signal                                   ? end.signal
                     : end.exit_code > 128 && end.exit_code < 160 ? end.exit_code - 128
                                                                  : 0;
  if (signal == SIGKILL && end.kernel_killed) return "out of memory";
  if (end.asked_to_stop && end.time_is_up) return "time limit";
  if (end.asked_to_stop) return "stopped by a signal";
  return signal ? cat("killed by signal ", signal) : cat("exit code ", end.exit_code);
}

bool tells_why(const std::string& line) {
  return line.starts_with("error:") ||
         has_any(line, {"slurmstepd: error", "srun: error", "oom", "Out Of Memory", "bad_alloc", "on signal",
                        "CANCELLED AT"});
}

}  // namespace pscale
