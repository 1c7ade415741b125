// Root-mean-square normalization of each row (Zhang & Sennrich 2019): y = w * x / sqrt(mean(x^2) + eps).
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct RmsNormKernels {
  /// x, y [rows, columns]; weight [columns], all of `type`; scale [rows] in its accumulation type receives
  /// 1 / sqrt(mean(x^2) + eps).
  Kernel<void(DType type, const void* x, const void* weight, void* y, void* scale, int64_t rows,
                  int64_t columns, double eps)> forward;
  /// dx [rows, columns] of `type` and dweight [columns] of `dweight_type`; either may be null. With add_* the sum is
  /// added to what is there. Row sums for dweight are taken in a fixed order for a given number of threads.
  Kernel<void(DType type, const void* x, const void* weight, const void* scale, const void* dy, void* dx,
                   bool add_dx, DType dweight_type, void* dweight, bool add_dweight, int64_t rows, int64_t columns)> backward;
};

/// x [..., H], weight [H] -> [..., H]. Saves x and one number per row.
Var rms_norm(Tape& tape, const Var& x, const Var& weight, double eps);

}  // namespace pscale
