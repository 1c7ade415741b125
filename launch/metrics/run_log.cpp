#include "launch/metrics/run_log.h"

#include <chrono>

namespace pscale {

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

RunLog::RunLog(const RunLogOptions& options)
    : metrics_(options.folder / "metrics.jsonl", AppendFile::Content::lines),
      progress_(options.console, options.folder / "log.txt", options.max_steps) {
  if (options.tensorboard) tensorboard_.emplace(options.folder, wall_time());
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
