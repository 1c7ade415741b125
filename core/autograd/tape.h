// The tape: what operators did, so that it can be played backwards.
//
// An operator computes its values, then calls `op` once with its inputs and a closure that, given the gradients of
// its outputs, adds to the gradients of its inputs. The closure captures the tensors it needs and the `gradient()`
// of its inputs, never the Vars: what nobody captured is freed when the model code lets go of it, and what a closure
// captured is freed as soon as it ran.
//
// An asynchronous operation is two operators, start and wait: the tape runs them in the opposite order backwards.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>

#include "core/autograd/var.h"

namespace pscale {

class Tape {
 public:
  enum class Mode : uint8_t {
    record,  ///< training: closures are kept, uses of parameters are counted
    count,   ///< the first pass of a recomputed block: uses are counted, nothing is kept
    replay,  ///< its second pass, during backward: closures are kept, uses were counted before
    off      ///< evaluation
  };
  using Backward = std::function<void(Tensor)>;                   ///< gradient of the output
  using BackwardMany = std::function<void(std::vector<Tensor>)>;  ///< of each output; undefined where none arrived

  explicit Tape(Mode mode = Mode::record) : mode_(mode) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Mode mode() const { return mode_; }
  /// Whether closures are kept, hence whether an operator should prepare what only they need.
  bool recording() const { return mode_ == Mode::record || mode_ == Mode::replay; }

  /// The output of an operator. It needs a gradient if any input does; `backward` runs if one arrives.
  /// Undefined inputs (an absent bias) are allowed. The output's gradient gathers in the output's dtype, or in
  /// `gradient_dtype`: what only rearranges a parameter passes the parameter's, which may be wider.
  Var op(Tensor value, std::initializer_list<const Var*> inputs, Backward backward,
         std::optional<DType> gradient_dtype = {});
  std::vector<Var> op(std::vector<Tensor> values, std::span<const Var* const> inputs, BackwardMany backward,
                      std::optional<DType> gradient_dtype = {});

  /// Plays the tape backwards from `result`, whose gradient is `seed` (ones where undefined), and empties it.
  void backward(const Var& result, Tensor seed = {});

  int64_t nodes() const { return static_cast<int64_t>(nodes_.size()); }

 private:
  struct Node {
    std::vector<std::shared_ptr<Gradient>> outputs, inputs;
    BackwardMany backward;
  };
  Mode mode_;
  std::vector<Node> nodes_;
};

/// x's value without its gradient, for what is known to have none. The use still counts, so that a parameter used only so
/// is complete in time.
Var stop_gradient(Tape& tape, const Var& x);

/// A value without a gradient.
inline Var constant(Tensor value) { return Var(std::move(value)); }
/// A value whose gradient is wanted, for tests and for the inputs of a recomputed block.
Var leaf(Tensor value);

}  // namespace pscale
