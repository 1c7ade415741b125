// How far work on a number of bytes (or of something else) is: one line written over on a terminal, else a line now
// and then.
#pragma once

#include <cstdint>
#include <string>

#include "launch/metrics/console.h"
#include "launch/metrics/format.h"

namespace pscale {

class ByteProgress {
 public:
  using Format = std::string (*)(double amount);
  /// `total` is negative where nobody knows it: then no time left is shown.
  explicit ByteProgress(int64_t total, Console console = find_console(), Format format = format_bytes);
  /// Takes a rewritten line away.
  ~ByteProgress();
  ByteProgress(const ByteProgress&) = delete;
  ByteProgress& operator=(const ByteProgress&) = delete;

  /// May be called often. `detail` stands between the bytes and their rate.
  void show(int64_t bytes, const std::string& detail = "");
  void clear();
  double seconds() const;

 private:
  Console console_;
  Format format_;
  int64_t total_;
  double start_, last_;
  bool shown_ = false;
};

}  // namespace pscale
