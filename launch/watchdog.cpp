#include "launch/watchdog.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "core/base/text.h"
#include "core/base/thread_stacks.h"
#include "launch/metrics/run_log.h"
#include "launch/program.h"
#include "parallel/comm/mpi_world.h"

namespace pscale {

namespace {

constexpr unsigned kPrintingSeconds = 30;

/// Pages that came from a disk into mappings: reading a mapped file is no system call.
uint64_t pages_read() {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<uint64_t>(usage.ru_majflt) : 0;
}

void print(const std::string& text) {
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(STDERR_FILENO, text.data() + written, text.size() - written);
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
}

}  // namespace

Watchdog::Watchdog(double seconds, std::shared_ptr<const LastCollective> last, std::filesystem::path log)
    : seconds_(seconds), last_(std::move(last)), log_(std::move(log)), main_thread_(gettid()) {
  if (seconds_ > 0) thread_ = std::thread([this] { loop(); });
}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::watch(Count count) {
  std::lock_guard lock(mutex_);
  counts_.push_back(std::move(count));
}

uint64_t Watchdog::progress() {
  uint64_t sum = last_->completed() + static_cast<uint64_t>(last_->step()) + moved_.mebibytes() + pages_read();
  for (const Count& count : counts_) sum += count->load(std::memory_order_relaxed);
  return sum;
}

void Watchdog::loop() {
  using Seconds = std::chrono::duration<double>;
  const Seconds tick(std::clamp(seconds_ / 20, 0.01, 1.0));
  std::unique_lock lock(mutex_);
  uint64_t seen = progress();
  // Looks are counted, not time: a process that was stopped, or a machine that slept, has not been idle.
  for (double idle = 0; idle < seconds_;) {
    if (changed_.wait_for(lock, tick, [&] { return ending_; })) return;
    const uint64_t now = progress();
    idle = now == seen ? idle + tick.count() : 0;
    seen = now;
  }
  lock.unlock();
  bark();
}

void Watchdog::bark() const {
  const int rank = launched_rank();
  const std::string what = cat("no progress for ", seconds_, " s (run.timeout_seconds) ",
                               last_->step() > 0 ? cat("in step ", last_->step()) : "before the first step", ": rank ", rank, " is ",
                               last_->text());
  const double wait = std::clamp(seconds_ / 10, 2.0, 30.0);
  // What follows may hang as well: a standard error that nobody reads, a log on the disk that does not answer.
  alarm(static_cast<unsigned>(wait) + kPrintingSeconds);
  print(cat("error: ", what, "\n"));
  // Lines of several ranks may mix.
  print_thread_stacks(main_thread_, [&](const std::string& thread) { print(cat("  rank ", rank, ", ", thread)); });
  if (rank == 0) add_to_log(log_, "error: " + what);
  // The others' time is over about now too, and what they print says more together.
  std::this_thread::sleep_for(std::chrono::duration<double>(wait));
  abort_job(kExitFailed);
}

}  // namespace pscale
