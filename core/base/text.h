// Joining values into text, for messages.
#pragma once

#include <sstream>
#include <string>
#include <vector>

namespace pscale {

/// cat("a", 1, 2.5) == "a12.5"
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// join({"a", "b"}, ", ") == "a, b"
template <class Range>
std::string join(const Range& items, const std::string& between) {
  std::ostringstream out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out << between;
    out << item;
    first = false;
  }
  return out.str();
}

}  // namespace pscale
