// The collective that a rank is in, or was in last, for whoever wants to know why it stands still. The progress thread
// writes it, any thread may read it at any time: relaxed atomics, a few stores for each collective.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "core/tensor/dtype.h"
#include "parallel/mesh/axis.h"

namespace pscale {

struct Collective {
  const char* operation = "";  ///< "all_reduce"; this and the purpose have static storage
  AxisSet axes;                ///< over which the ranks lie
  const char* purpose = "";
  int64_t count = 0;  ///< elements, as the call counts them
  DType type = DType::float32;
};

class LastCollective {
 public:
  void begin(const Collective& collective);
  void end() { completed_.fetch_add(1, std::memory_order_relaxed); }
  /// The step that is being trained, from 1; 0: none yet.
  void set_step(int64_t step) { step_.store(step, std::memory_order_relaxed); }

  /// Collectives that are through.
  uint64_t completed() const { return completed_.load(std::memory_order_relaxed); }
  int64_t step() const { return step_.load(std::memory_order_relaxed); }
  /// "in all_reduce of 3 int32 over data+replica for checkpoint, collective 120"; "after ..." where it is through.
  std::string text() const;

 private:
  std::atomic<const char*> operation_ = "";
  std::atomic<const char*> purpose_ = "";
  std::atomic<AxisSet> axes_{};
  std::atomic<int64_t> count_ = 0;
  std::atomic<DType> type_ = DType::float32;
  std::atomic<int64_t> step_ = 0;
  std::atomic<uint64_t> begun_ = 0, completed_ = 0;
};

}  // namespace pscale
