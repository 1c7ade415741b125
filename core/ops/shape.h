// Operators that only rearrange: they compute nothing, and give gradients the dtype of what they rearrange.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct ShapeKernels {
  /// in [outer, a, b] -> out [outer, b, a], both of `type`.
  Kernel<void(DType type, const void* in, void* out, int64_t outer, int64_t a, int64_t b)> swap;
};

/// The same elements under another shape. x contiguous; no copy.
Var reshape(Tape& tape, const Var& x, Shape shape);

/// `length` entries from `start` of a dim. Dim 0 is a view; other dims are copied.
Var narrow(Tape& tape, const Var& x, int dim, int64_t start, int64_t length);

/// x [..., A, B] -> [..., B, A]
Var swap_last_dims(Tape& tape, const Var& x);

/// x [n, C] -> [n, p, C]: every row p times.
Var replicate(Tape& tape, const Var& x, int64_t p);

}  // namespace pscale
