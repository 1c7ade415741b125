#include "launch/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/base/text.h"
#include "core/base/thread_stacks.h"
#include "launch/metrics/append_file.h"
#include "launch/metrics/format.h"
#include "launch/metrics/run_log.h"
#include "launch/program.h"
#include "parallel/comm/mpi_world.h"

namespace pscale {

namespace {

/// MiB this process has read and written so far, less what this function has; 0 where the system does not tell.
uint64_t mebibytes_moved(uint64_t& by_looking) {
  std::ostringstream text;
  text << std::ifstream("/proc/self/io").rdbuf();
  std::istringstream io(text.str());
  std::string name;
  uint64_t bytes = 0, sum = 0;
  while (io >> name >> bytes)
    if (name == "rchar:" || name == "wchar:") sum += bytes;
  sum -= std::min(sum, by_looking);
  by_looking += text.str().size();
  return sum >> 20;
}

}  // namespace

Watchdog::Watchdog(double seconds, std::shared_ptr<const LastCollective> last, std::filesystem::path log)
    : seconds_(seconds), last_(std::move(last)), log_(std::move(log)) {
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
  uint64_t sum = last_->completed() + static_cast<uint64_t>(last_->step()) + mebibytes_moved(bytes_by_looking_);
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
  const std::string text = cat("error: ", what, "\n", thread_stacks());
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(STDERR_FILENO, text.data() + written, text.size() - written);
    if (n <= 0) break;
    written += static_cast<size_t>(n);
  }
  try {
    if (rank == 0 && std::filesystem::exists(log_)) AppendFile(log_).write(cat(format_time(wall_time()), " error: ", what, "\n"));
  } catch (const std::exception&) {
    // A disk that hangs or is full may be why we are here.
  }
  // The others' time is over about now too, and what they print says more together.
  std::this_thread::sleep_for(std::chrono::duration<double>(std::clamp(seconds_ / 10, 1.0, 30.0)));
  abort_job(kExitFailed);
}

}  // namespace pscale
