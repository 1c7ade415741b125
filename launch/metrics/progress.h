// Shows a run to people: on a terminal one line that is written over at every step, elsewhere a plain line at
// every logged step; log.txt gets the plain lines in any case, with the time. Only rank 0 makes one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launch/metrics/append_file.h"
#include "launch/metrics/console.h"
#include "launch/metrics/format.h"
#include "launch/metrics/metrics_row.h"

namespace pscale {

class RunProgress {
 public:
  /// Without `log_file` nothing is written to a file. Throws UserError where it cannot be opened.
  RunProgress(Console console, std::optional<std::filesystem::path> log_file, int64_t max_steps);
  /// Ends a rewritten line, so that what follows starts on its own.
  ~RunProgress();
  RunProgress(const RunProgress&) = delete;
  RunProgress& operator=(const RunProgress&) = delete;

  /// Call after every step; `logged` where the step is one of the log interval.
  void step(const MetricsRow& row, bool logged);
  /// A line of text of its own: a warning, a saved checkpoint, a skipped step. `time`: seconds since 1970.
  void message(const std::string& text, double time);
  /// The same for the file alone: what the program prints itself.
  void record(const std::string& text, double time);

 private:
  void rewrite(const std::string& text);

  Console console_;
  std::optional<AppendFile> log_;
  int64_t max_steps_;
  int64_t last_step_ = 0;
  RemainingTime remaining_;
  std::string shown_;  // the line on the terminal that the next one replaces
};

}  // namespace pscale
