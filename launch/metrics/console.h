// Where progress is shown: a stream, and whether a line on it can be written over.
#pragma once

#include <iosfwd>

namespace pscale {

struct Console {
  std::ostream* out = nullptr;  ///< null shows nothing
  bool rewrites = false;        ///< a person watches: one line is written over; else plain lines
  int columns = 80;             ///< width of the terminal
};

/// Standard output. mpirun gives its ranks a pseudo-terminal even when its own output goes to a file, so
/// under a launcher what counts is the launcher's output, where that can be seen; if not, plain lines.
Console find_console();

}  // namespace pscale
