#include "launch/metrics/progress.h"

#include <algorithm>
#include <ostream>
#include <utility>

namespace pscale {

RunProgress::RunProgress(Console console, std::optional<std::filesystem::path> log_file, int64_t max_steps)
    : console_(console), max_steps_(max_steps) {
  if (log_file) log_.emplace(std::move(*log_file), AppendFile::Content::lines);
}

RunProgress::~RunProgress() {
  try {
    if (!shown_.empty()) *console_.out << '\n' << std::flush;
  } catch (...) {  // a stream may be set to throw, a destructor may not
  }
}

void RunProgress::step(const MetricsRow& row, bool logged) {
  remaining_.add(row.step_seconds, last_step_ > 0 ? row.step - last_step_ : 1);
  last_step_ = row.step;
  const double left = remaining_.seconds_left(max_steps_ - row.step);
  if (logged) {
    const std::string line = log_line(row, max_steps_, left);
    if (log_) log_->write(format_time(row.time) + " " + line + "\n");
    if (console_.out && !console_.rewrites) *console_.out << line << '\n' << std::flush;
  }
  if (console_.out && console_.rewrites) rewrite(progress_line(row, max_steps_, left, console_.columns));
}

void RunProgress::record(const std::string& text, double time) {
  if (log_) log_->write(format_time(time) + " " + text + "\n");
}

void RunProgress::message(const std::string& text, double time) {
  record(text, time);
  if (!console_.out) return;
  if (shown_.empty()) {
    *console_.out << text << '\n' << std::flush;
    return;
  }
  *console_.out << "\r\x1b[K" << text << '\n' << shown_ << std::flush;
}

void RunProgress::rewrite(const std::string& text) {
  *console_.out << '\r' << text << "\x1b[K" << std::flush;
  shown_ = text;
}

}  // namespace pscale
