// The two kinds of failure. A UserError is the user's mistake: it reaches main, which prints each of
// its problems as one `error:` line and exits 2. An InvariantError is ours: exit 1. Anyone may throw
// both; only main may catch them to end the program.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/base/text.h"

namespace pscale {

class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& problem) : UserError(std::vector<std::string>{problem}) {}
  /// All problems found at once, each a full sentence that names the file, key or tensor and what to do.
  explicit UserError(std::vector<std::string> problems)
      : std::runtime_error(join(problems, "\n")), problems_(std::move(problems)) {}
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  std::vector<std::string> problems_;
};

class InvariantError : public std::logic_error {
 public:
  InvariantError(const char* file, int line, const std::string& what)
      : std::logic_error(cat(file, ":", line, ": ", what)) {}
};

}  // namespace pscale

/// Asserts an invariant; the message parts are joined only when it is broken.
#define PSCALE_CHECK(condition, ...)                                                                       \
  do {                                                                                                     \
    if (!(condition)) [[unlikely]]                                                                         \
      throw ::pscale::InvariantError(__FILE__, __LINE__, ::pscale::cat("broken: " #condition ": ", __VA_ARGS__)); \
  } while (false)
