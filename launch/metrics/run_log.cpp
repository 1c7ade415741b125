#include "launch/metrics/run_log.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/durable_file.h"

namespace pscale {

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void drop_rows_after(const std::filesystem::path& metrics, int64_t step) {
  if (!std::filesystem::exists(metrics)) return;
  const std::string text = read_file(metrics);
  std::istringstream lines(text);
  std::string line, kept;
  while (std::getline(lines, line)) {
    const nlohmann::json row = nlohmann::json::parse(line, nullptr, false);
    if (row.is_object() && row.value("step", step + 1) <= step) kept += line + "\n";
  }
  if (kept != text) write_file_durably(metrics, kept);
}

namespace {
std::filesystem::path metrics_of(const RunLogOptions& options) {
  const std::filesystem::path path = options.folder / "metrics.jsonl";
  if (options.done_steps) drop_rows_after(path, *options.done_steps);
  return path;
}
}  // namespace

RunLog::RunLog(const RunLogOptions& options)
    : metrics_(metrics_of(options), AppendFile::Content::lines),
      progress_(options.console, options.folder / "log.txt", options.max_steps) {
  if (options.tensorboard) tensorboard_.emplace(options.folder, wall_time(), options.done_steps ? *options.done_steps + 1 : 0);
}

void RunLog::step(const MetricsRow& row, bool logged) {
  if (logged) {
    metrics_.write(to_json_line(row) + "\n");
    if (tensorboard_) tensorboard_->write(row);
  }
  progress_.step(row, logged);
}

void RunLog::message(const std::string& text) { progress_.message(text, wall_time()); }

}  // namespace pscale
