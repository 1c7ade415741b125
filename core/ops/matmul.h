// Matrix products on tensors. Not differentiable by itself: the linear layers (parallel/ops/linear.h) compose it.
#pragma once

#include "core/tensor/dispatch.h"
#include "core/tensor/tensor.h"

namespace pscale {

struct MatmulArgs {
  DType in, out;               ///< float32, bfloat16 or float64 -> the same, or float32 from bfloat16
  bool transpose_a, transpose_b;
  int64_t m, n, k;             ///< out [m, n] = op(a) [m, k] op(b) [k, n]
  const void* a;
  int64_t lda;                 ///< elements between rows as stored
  const void* b;
  int64_t ldb;
  void* c;
  int64_t ldc;
  bool accumulate;             ///< add to c instead of overwriting it
  const void* bias;            ///< [n] of type `in`, added to every row, or null; not with `accumulate`
};

struct MatmulKernels {
  Kernel<void(const MatmulArgs& args)> matmul;
};

enum class Transpose : bool { no, yes };

/// out = op(a) op(b) (+ bias), or out += op(a) op(b). a, b and out are read as matrices of rows() x columns(); their
/// rows may be strided. Products are summed in float32 (float64 for float64) and rounded once.
void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& out, bool accumulate,
            const Tensor& bias = {});

}  // namespace pscale
