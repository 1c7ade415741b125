// Traffic by group and purpose. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string_view>

#include "parallel/mesh/axis.h"

namespace pscale {

/// Why a collective happens; a literal.
struct Purpose {
  std::string_view name = "";
};

struct CommCount {
  int64_t calls = 0;
  int64_t elements = 0;  ///< sent per rank: see CommCounters::add's callers in communicator.h
  int64_t bytes = 0;
  double seconds = 0;    ///< from start to completion
  double waited = 0;     ///< of these, seconds somebody waited
};

struct CommKey {
  AxisSet axes;
  std::string_view purpose;
  auto operator<=>(const CommKey&) const = default;
};

class CommCounters {
 public:
  void add(const CommKey& key, int64_t elements, int64_t bytes);
  void add_time(const CommKey& key, double seconds);
  void add_wait(const CommKey& key, double seconds);
  std::map<CommKey, CommCount> snapshot() const;
  double seconds_waited() const;  ///< over all keys
  void reset();

 private:
  mutable std::mutex mutex_;
  std::map<CommKey, CommCount> counts_;
};

}  // namespace pscale
