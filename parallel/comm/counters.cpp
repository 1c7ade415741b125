#include "parallel/comm/counters.h"

namespace pscale {

void CommCounters::add(const CommKey& key, int64_t elements, int64_t bytes) {
  std::lock_guard lock(mutex_);
  CommCount& count = counts_[key];
  ++count.calls;
  count.elements += elements;
  count.bytes += bytes;
}

void CommCounters::add_time(const CommKey& key, double seconds) {
  std::lock_guard lock(mutex_);
  counts_[key].seconds += seconds;
}

void CommCounters::add_wait(const CommKey& key, double seconds) {
  std::lock_guard lock(mutex_);
  counts_[key].waited += seconds;
}

std::map<CommKey, CommCount> CommCounters::snapshot() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

double CommCounters::seconds_waited() const {
  std::lock_guard lock(mutex_);
  double sum = 0;
  for (const auto& [key, count] : counts_) sum += count.waited;
  return sum;
}

void CommCounters::reset() {
  std::lock_guard lock(mutex_);
  counts_.clear();
}

}  // namespace pscale
