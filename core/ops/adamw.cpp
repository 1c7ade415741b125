#include "core/ops/adamw.h"

namespace pscale {

void adamw_update(const Tensor& weight, const Tensor& first, const Tensor& second, const Tensor& gradient,
                  const AdamWStep& step, const Tensor& rounded) {
  PSCALE_CHECK(first.shape() == weight.shape() && second.shape() == weight.shape() && gradient.shape() == weight.shape() &&
                   first.contiguous() && second.contiguous(),
               to_string(weight.shape()), ", gradient ", to_string(gradient.shape()));
  PSCALE_CHECK(first.dtype() == weight.dtype() && second.dtype() == weight.dtype() && gradient.dtype() == weight.dtype() &&
                   (weight.dtype() == DType::float32 || weight.dtype() == DType::float64),
               "weight ", name_of(weight.dtype()), ", gradient ", name_of(gradient.dtype()));
  PSCALE_CHECK(!rounded.defined() || (rounded.shape() == weight.shape() && rounded.dtype() == DType::bfloat16), "copy");
  kernels<AdamWKernels>(weight.device())
      .update(weight.dtype(), weight.address(), weight.row_stride(), first.address(), second.address(), gradient.address(),
              gradient.row_stride(), rounded.defined() ? rounded.address() : nullptr,
              rounded.defined() ? rounded.row_stride() : 0, weight.rows(), weight.columns(), step);
}

double sum_of_squares(const Tensor& x) {
  return kernels<AdamWKernels>(x.device())
      .sum_of_squares(x.dtype(), x.address(), x.row_stride(), x.rows(), x.columns());
}

}  // namespace pscale
