// A communicator: a group of ranks and the collectives among them, on raw memory of one device kind.
//
// Every collective is asynchronous and returns a Request; X(...).wait() is the blocking form. The caller keeps buffers
// alive and untouched until the wait. All ranks of a group call the same collectives in the same order. In a group of one
// rank nothing is sent. Who drives progress is the implementation's business: see mpi_world.h.
#pragma once

#include <functional>
#include <memory>

#include "core/tensor/dtype.h"
#include "parallel/comm/counters.h"

namespace pscale {

enum class Reduction : uint8_t { sum, max };

/// A collective under way; copies stand for the same one. A default Request is done.
class Request {
 public:
  class State {
   public:
    virtual ~State() = default;
    virtual void wait() = 0;
    virtual bool done() = 0;
  };
  Request() = default;
  explicit Request(std::shared_ptr<State> state) : state_(std::move(state)) {}
  /// Returns when the collective is complete on this rank; again at once when called again. Throws what it failed with.
  void wait() {
    if (state_) state_->wait();
    state_.reset();
  }
  bool done() const { return !state_ || state_->done(); }

 private:
  std::shared_ptr<State> state_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// inout [count]. float32, bfloat16 (summed in float32, in rank order, rounded once), float64, int32.
  /// Counted as sent: 2 (G-1)/G count.
  virtual Request all_reduce(void* inout, int64_t count, DType type, Reduction reduction, Purpose purpose) = 0;
  /// send [count_per_rank] -> receive [G, count_per_rank], in rank order; `send` may be the rank's own place in `receive`.
  /// Counted as sent: (G-1) count_per_rank.
  virtual Request all_gather(const void* send, void* receive, int64_t count_per_rank, DType type, Purpose purpose) = 0;
  /// send [G, count_per_rank] -> receive [count_per_rank]: this rank's row of the sum over the ranks.
  /// Counted as sent: (G-1) count_per_rank.
  virtual Request reduce_scatter(const void* send, void* receive, int64_t count_per_rank, DType type,
                                 Purpose purpose) = 0;
  virtual void barrier() = 0;
  /// Bytes of buffers of its own that this rank holds.
  virtual int64_t memory_bytes() const = 0;
};

}  // namespace pscale
