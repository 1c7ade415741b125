// The AdamW update (Loshchilov & Hutter 2019) and the sum of squares of a gradient. Tensor-level.
#pragma once

#include "core/tensor/dispatch.h"
#include "core/tensor/tensor.h"

namespace pscale {

struct AdamWStep {
  double rate = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double correction1 = 1, correction2 = 1;  ///< 1 - beta^t
  double gradient_scale = 1;                ///< multiplies the gradient: clipping
};

struct AdamWKernels {
  /// weight [rows, columns], rows `stride` apart; first, second, gradient dense, all of `type` (float32 or float64).
  /// copy: null, or bfloat16 with rows `copy_stride` apart, which receives the rounded weight.
  Kernel<void(DType type, void* weight, int64_t stride, void* first, void* second, const void* gradient,
              int64_t gradient_stride, void* copy, int64_t copy_stride, int64_t rows, int64_t columns,
              const AdamWStep& step)>
      update;
  /// In double, in an order that does not depend on the number of threads.
  Kernel<double(DType type, const void* x, int64_t stride, int64_t rows, int64_t columns)> sum_of_squares;
};

/// weight -= rate (m / c1 / (sqrt(v / c2) + eps)) after weight *= 1 - rate weight_decay, as oracle.train. weight, first,
/// second and gradient of one shape, float32 or float64; weight and gradient may be strided. `rounded`, where defined,
/// receives the new weight in bfloat16.
void adamw_update(const Tensor& weight, const Tensor& first, const Tensor& second, const Tensor& gradient,
                  const AdamWStep& step, const Tensor& rounded = {});

/// Not finite where any element is not.
double sum_of_squares(const Tensor& x);

}  // namespace pscale
