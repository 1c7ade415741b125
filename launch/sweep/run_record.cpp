#include "launch/sweep/run_record.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {
fs::path record_of(const fs::path& folder) { return folder / "sweep.json"; }
fs::path lock_of(const fs::path& folder) { return folder / "sweep.lock"; }

enum class Lock : uint8_t { free, held, unknown };

Lock try_lock(int file, int kind) {
  if (flock(file, kind | LOCK_NB) == 0) return Lock::free;
  return errno == EWOULDBLOCK || errno == EINTR ? Lock::held : Lock::unknown;
}

bool held_by_record(const fs::path& folder) {
  const auto record = read_record(folder);
  return record && alive_without_lock(*record, record_age(folder));
}
}  // namespace

std::optional<RunRecord> read_record(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(record_of(folder), error)) return std::nullopt;
  try {
    const auto json = nlohmann::json::parse(read_file(record_of(folder)));
    RunRecord record;
    record.running = json.at("state") == "running";
    json.at("overrides").get_to(record.overrides);
    record.values = json.value("values", std::map<std::string, std::string>{});
    record.command = json.value("command", "");
    record.host = json.value("host", "");
    record.process = json.value("process", int64_t{0});
    record.job = json.value("job", "");
    record.started = json.value("started", 0.0);
    record.ended = json.value("ended", 0.0);
    record.exit_code = json.value("exit_code", 0);
    record.signal = json.value("signal", 0);
    record.reason = json.value("reason", "");
    record.errors = json.value("errors", std::vector<std::string>{});
    record.idle_lives = json.value("idle_lives", 0);
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

void write_record(const fs::path& folder, const RunRecord& record) {
  nlohmann::ordered_json json{{"state", record.running ? "running" : "ended"},
                              {"overrides", record.overrides},
                              {"values", record.values},
                              {"command", record.command},
                              {"host", record.host},
                              {"process", record.process},
                              {"job", record.job},
                              {"started", record.started},
                              {"idle_lives", record.idle_lives}};
  if (!record.running) {
    json["ended"] = record.ended;
    json["exit_code"] = record.exit_code;
    json["signal"] = record.signal;
    json["reason"] = record.reason;
    json["errors"] = record.errors;
  }
  // Standard error may hold any bytes.
  write_file_durably(record_of(folder),
                     json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void touch_record(const fs::path& folder) {
  std::error_code error;
  fs::last_write_time(record_of(folder), fs::file_time_type::clock::now(), error);
}

double record_age(const fs::path& folder) {
  std::error_code error;
  const auto written = fs::last_write_time(record_of(folder), error);
  if (error) return 1e9;
  return std::chrono::duration<double>(fs::file_time_type::clock::now() - written).count();
}

bool alive_without_lock(const RunRecord& record, double age) {
  if (!record.running || record.host != host_name() || record.process == getpid() || age > kSilentSeconds)
    return false;
  return kill(static_cast<pid_t>(record.process), 0) == 0 || errno == EPERM;
}

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::optional<RunLock> RunLock::take(const fs::path& folder) {
  make_folder_durably(folder);
  const int file = open(lock_of(folder).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0) throw UserError(cat(lock_of(folder).string(), ": ", std::strerror(errno)));
  // Somebody who only looks holds it for a moment, too.
  for (int attempt = 0; attempt < 20; ++attempt) {
    const Lock lock = try_lock(file, LOCK_EX);
    if (lock == Lock::free || (lock == Lock::unknown && !held_by_record(folder))) return RunLock(file);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  close(file);
  return std::nullopt;
}

bool RunLock::held(const fs::path& folder) {
  const int file = open(lock_of(folder).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const Lock lock = try_lock(file, LOCK_SH);
  close(file);
  return lock == Lock::held || (lock == Lock::unknown && held_by_record(folder));
}

RunLock::RunLock(RunLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
RunLock::~RunLock() {
  if (file_ >= 0) close(file_);
}

}  // namespace pscale
