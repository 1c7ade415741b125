#include "launch/metrics/byte_progress.h"

#include <algorithm>
#include <chrono>
#include <ostream>

#include "core/base/text.h"

namespace pscale {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

ByteProgress::ByteProgress(int64_t total, Console console, Format format)
    : console_(console), format_(format), total_(total), start_(now()), last_(start_) {}

ByteProgress::~ByteProgress() {
  try {
    clear();
  } catch (...) {  // a stream may be set to throw, a destructor may not
  }
}

void ByteProgress::show(int64_t bytes, const std::string& detail) {
  const double time = now();
  if (time - last_ < (console_.rewrites ? 0.1 : 10)) return;
  last_ = time;
  const double rate = static_cast<double>(bytes) / (time - start_);
  const auto shown = [&](int64_t amount) { return format_(static_cast<double>(amount)); };
  std::string line = cat(shown(bytes), total_ < 0 ? "" : cat(" of ", shown(total_)), "  ", detail,
                         detail.empty() ? "" : "  ", format_(rate), "/s");
  if (total_ >= 0)
    line += cat("  eta ", format_duration(static_cast<double>(std::max<int64_t>(0, total_ - bytes)) / rate));
  if (console_.rewrites) {
    // A line that wraps could not be written over.
    line = line.substr(0, static_cast<size_t>(std::max(1, console_.columns - 1)));
    *console_.out << '\r' << line << "\x1b[K" << std::flush;
    shown_ = true;
  } else {
    *console_.out << line << '\n' << std::flush;
  }
}

void ByteProgress::clear() {
  if (shown_) *console_.out << "\r\x1b[K" << std::flush;
  shown_ = false;
}

double ByteProgress::seconds() const { return now() - start_; }

}  // namespace pscale
