// Ends a run that stands still. A thread of each rank looks whether the rank gets on: a collective is through, a tensor was
// made (an operator ran), a MiB was read or written, a page of a mapped file came. Where none of that happens for run.timeout_seconds it prints the rank's
// last collective and the stacks of its threads, waits a little for the other ranks to print theirs, and aborts the job.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/bytes_moved.h"
#include "core/base/thread_stacks.h"
#include "parallel/comm/last_collective.h"

namespace pscale {

class Watchdog {
 public:
  using Count = std::shared_ptr<const std::atomic<uint64_t>>;

  /// Watches from here on, before MPI starts; made by the thread that computes. `seconds` 0: does nothing. Rank 0 adds a line to `log` where that file exists.
  Watchdog(double seconds, std::shared_ptr<const LastCollective> last, std::filesystem::path log);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// A count that grows while the rank gets on.
  void watch(Count count);

 private:
  void loop();
  uint64_t progress();
  [[noreturn]] void bark() const;

  const double seconds_;
  const std::shared_ptr<const LastCollective> last_;
  const std::filesystem::path log_;
  const pid_t main_thread_;
  const SignalStack signal_stack_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Count> counts_;
  BytesMoved moved_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace pscale
