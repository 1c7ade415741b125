// Requests to stop a run: a signal, or the end of run.max_minutes. A rank only notes that it was asked; all ranks agree
// on the step to stop after, see Checkpointer.
//
// Signals are waited for by a thread of their own and blocked in all others. A handler would run on the stack of whatever
// thread computes, and oneDNN's generated kernels use the stack pointer for other things: it would overwrite memory.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>

namespace pscale {

/// Where ranks were asked for several reasons, the largest counts.
enum class StopReason : int32_t { none, max_minutes, sigusr1, sigterm };

/// "SIGTERM was received", ...
std::string sentence(StopReason reason);

/// Ends the start of a run that was asked to stop before it trained.
class Stopped : public std::runtime_error {
 public:
  explicit Stopped(StopReason reason) : std::runtime_error(sentence(reason)) {}
};

class StopRequest {
 public:
  /// From here to the end of the process SIGTERM and SIGUSR1 do not end it; while this lives they are noted. Made before
  /// all other threads, which inherit that they are blocked, and before MPI starts, so that a signal during start-up counts.
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  /// Minutes from the construction; 0: no limit.
  void limit(double max_minutes) { max_minutes_ = max_minutes; }
  /// What this rank was asked. Stays once it is not `none`.
  StopReason reason() const;
  /// The same of signals alone. For the time before the first step: a run whose minutes are too few to start would never get on.
  StopReason signalled() const { return received_; }
  /// Throws Stopped where this rank got a signal; where the other ranks need not follow yet.
  void throw_if_signalled() const {
    if (const StopReason reason = signalled(); reason != StopReason::none) throw Stopped(reason);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double max_minutes_ = 0;
  std::atomic<StopReason> received_ = StopReason::none;
  std::atomic<bool> ending_ = false;
  std::thread waiting_;
};

}  // namespace pscale
