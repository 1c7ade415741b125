// Recomputation (activation checkpointing) as an operator: the block's activations are dropped after the forward
// pass and computed again, collectives included, when the tape comes back to it.
#pragma once

#include <functional>

#include "core/autograd/tape.h"

namespace pscale {

/// `block(tape, input)`, keeping only `input`. The block must be a function of its input and of parameters alone.
/// Inside a block that is itself being recomputed it is simply called.
Var recompute(Tape& tape, const Var& input, std::function<Var(Tape&, const Var&)> block);

}  // namespace pscale
