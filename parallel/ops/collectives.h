// Collectives as differentiable operators. Each is two operators, start and wait; played backwards, wait starts the
// conjugate (all-gather <-> reduce-scatter) and start waits for it, so what overlaps forward also overlaps backward.
// All cut and join dim 0, ranks in group order. In a group of one rank they hand their input through.
#pragma once

#include "core/autograd/tape.h"
#include "parallel/comm/communicator.h"

namespace pscale {

/// A collective under way. Keeps its buffers alive; give it to `wait` exactly once.
class Pending {
 public:
  struct Flight {
    Request request;
    Tensor sent;  ///< must outlive the request
  };
  Var ticket;      ///< stands for the input, with its shape
  Tensor result;   ///< valid after the wait
  std::shared_ptr<Flight> flight;
  Communicator* group = nullptr;
  Purpose purpose;
  enum class Kind : uint8_t { none, all_gather, reduce_scatter } kind = Kind::none;
};

/// x [m, ...] contiguous -> [G m, ...]: the parts of all G ranks.
Pending all_gather_start(Tape& tape, const Var& x, Communicator& group, Purpose purpose);
/// x [G m, ...] contiguous -> [m, ...]: this rank's part of the sum over the ranks.
Pending reduce_scatter_start(Tape& tape, const Var& x, Communicator& group, Purpose purpose);
Var wait(Tape& tape, Pending pending);

inline Var all_gather(Tape& tape, const Var& x, Communicator& group, Purpose purpose) {
  return wait(tape, all_gather_start(tape, x, group, purpose));
}
inline Var reduce_scatter(Tape& tape, const Var& x, Communicator& group, Purpose purpose) {
  return wait(tape, reduce_scatter_start(tape, x, group, purpose));
}

/// The same on tensors, for what is not differentiated. `out` [G m, ...] or [m, ...] of x's dtype.
Request all_gather_into(const Tensor& x, const Tensor& out, Communicator& group, Purpose purpose);
Request reduce_scatter_into(const Tensor& x, const Tensor& out, Communicator& group, Purpose purpose);
/// Shape of x with dim 0 times G, and divided by G.
Shape gathered_shape(const Tensor& x, const Communicator& group);
Shape scattered_shape(const Tensor& x, const Communicator& group);

}  // namespace pscale
