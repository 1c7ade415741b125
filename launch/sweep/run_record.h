// What `pscale_sweep run` leaves in a run's folder for others to read: sweep.json, who runs it and how it
// ended, and sweep.lock, which is held while it runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace pscale {

struct RunRecord {
  bool running = false;                       ///< since `started`; else it ended at `ended`
  std::vector<std::string> overrides;         ///< what pscale_train was given, without run.dir
  std::map<std::string, std::string> values;  ///< of the keys that decide results: values_that_count()
  std::string command;                        ///< as a line for a shell
  std::string host;
  int64_t process = 0;
  std::string job;                ///< Slurm's id of the job, or of the array's task; empty outside Slurm
  double started = 0, ended = 0;  ///< seconds since 1970
  int exit_code = 0;
  int signal = 0;                   ///< that killed the launcher, or 0
  std::string reason;               ///< why it failed, one of those of failure.h; empty where it did not
  std::vector<std::string> errors;  ///< the last lines of standard error that say why
  int idle_lives = 0;               ///< of this job, in a row: ended with kExitRunAgain and saved no step
};

/// Nothing where there is none or it cannot be understood.
std::optional<RunRecord> read_record(const std::filesystem::path& folder);
/// Throws UserError naming the file.
void write_record(const std::filesystem::path& folder, const RunRecord& record);

/// Shows other machines that the run is alive; they look at the file's age.
void touch_record(const std::filesystem::path& folder);
/// Seconds since the record was written or touched.
double record_age(const std::filesystem::path& folder);
/// A record is touched every half minute; one that is older than this is of a run that ended without a word.
constexpr double kSilentSeconds = 150;
/// Whether a record of this machine, so many seconds old, is of a process that is alive: where there are no
/// locks.
bool alive_without_lock(const RunRecord& record, double age);

std::string host_name();

/// The lock of a run's folder. Given up when it is destroyed or its process ends, however that happens.
class RunLock {
 public:
  /// Nothing where another process holds it. Makes the file, and the folder, where they are missing. On a
  /// file system that has no locks the record tells. Throws UserError where the folder cannot be written.
  static std::optional<RunLock> take(const std::filesystem::path& folder);
  /// Whether a process holds it. False where there is no such file.
  static bool held(const std::filesystem::path& folder);
  /// In place of one that a machine which is gone still holds on a network file system.
  static RunLock none() { return RunLock(-1); }

  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock();

 private:
  explicit RunLock(int file) : file_(file) {}
  int file_;
};

}  // namespace pscale
