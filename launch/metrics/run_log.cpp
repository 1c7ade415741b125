#include "launch/metrics/run_log.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/durable_file.h"
#include "core/base/text.h"
#include "launch/metrics/format.h"

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

void add_to_log(const std::filesystem::path& log, const std::string& line) {
  try {
    if (std::filesystem::exists(log)) AppendFile(log).write(cat(format_time(wall_time()), " ", line, "\n"));
  } catch (const std::exception&) {
    // A disk that is full may be what the line is about.
  }
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

void RunLog::add_validation(int64_t step, double loss, const std::vector<std::pair<std::string, double>>& losses) {
  MetricsRow late;
  late.step = step;
  late.validation_loss = loss;
  late.validation_losses = losses;
  nlohmann::ordered_json added;
  Scalars scalars;
  for (const MetricField& field : metric_fields(late))
    if (field.name.starts_with("validation_loss"))
      if (const auto* number = std::get_if<double>(&field.value)) {
        added[field.name] = *number;
        scalars.emplace_back(field.tag, *number);
      }
  std::istringstream lines(read_file(metrics_.path()));
  std::string line, text;
  bool known = false;  // the run was killed after it had made up for it, before the next checkpoint
  while (std::getline(lines, line)) {
    const auto row = nlohmann::ordered_json::parse(line, nullptr, false);
    if (row.is_object() && row.value("step", step + 1) == step) {
      known = row.contains("validation_loss");
      nlohmann::ordered_json whole;
      for (const auto& [name, value] : row.items()) {
        whole[name] = value;
        if (name == "memory_peak_bytes") whole.update(added);
      }
      line = whole.dump();
    }
    text += line + "\n";
  }
  const std::filesystem::path path = metrics_.path();
  write_file_durably(path, text);
  metrics_ = AppendFile(path, AppendFile::Content::lines);  // the old one is no longer that file
  if (tensorboard_ && !known) tensorboard_->write(wall_time(), step, scalars);
  message(cat("validation of step ", step, ": loss ", loss));
}

void RunLog::record(const std::string& text) { progress_.record(text, wall_time()); }

void RunLog::message(const std::string& text) { progress_.message(text, wall_time()); }

}  // namespace pscale
