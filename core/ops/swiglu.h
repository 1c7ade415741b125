// The activations of the feed-forward block and of the scorer: silu(x) = x / (1 + e^-x), and SwiGLU (Shazeer 2020),
// silu(gate) * up.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct SwigluKernels {
  /// gate_up [rows, 2 columns], gate first -> out [rows, columns], of `type`.
  Kernel<void(DType type, const void* gate_up, void* out, int64_t rows, int64_t columns)> forward;
  /// dgate_up [rows, 2 columns], which may be gate_up's own memory.
  Kernel<void(DType type, const void* gate_up, const void* dout, void* dgate_up, int64_t rows, int64_t columns)> backward;
  /// Elementwise.
  Kernel<void(DType type, const void* x, void* y, int64_t elements)> silu;
  Kernel<void(DType type, const void* x, const void* dy, void* dx, int64_t elements)> silu_backward;
};

/// gate_up [..., 2 F] -> out [..., F]. Not differentiable by itself: row_linear composes it.
void swiglu_forward(const Tensor& gate_up, const Tensor& out);
/// dgate_up may be gate_up itself.
void swiglu_backward(const Tensor& gate_up, const Tensor& dout, const Tensor& dgate_up);

/// Elementwise; saves x.
Var silu(Tape& tape, const Var& x);

}  // namespace pscale
