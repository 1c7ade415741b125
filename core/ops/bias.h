// Adding a bias to every row, and its gradient.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct BiasKernels {
  /// x [rows, columns] += bias [columns], both of `type`.
  Kernel<void(DType type, void* x, const void* bias, int64_t rows, int64_t columns)> add;
  /// sums [columns] of `sums_type` (+)= sum over the rows of x [rows, columns], rows `stride` apart; in a fixed order for
  /// a given number of threads.
  Kernel<void(DType type, const void* x, int64_t stride, DType sums_type, void* sums, bool accumulate, int64_t rows,
              int64_t columns)>
      column_sums;
};

/// x + bias, over x's memory: x is a fresh result that nobody saved. x [..., C], bias [C].
Var add_bias(Tape& tape, Var&& x, const Var& bias);

/// sums [C] (+)= sum over the rows of x [..., C]; rows may be strided.
void column_sums(const Tensor& x, const Tensor& sums, bool accumulate);

}  // namespace pscale
