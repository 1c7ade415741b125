#include "core/tensor/accumulate.h"

namespace pscale {

void accumulate(const Tensor& into, const Tensor& part) {
  PSCALE_CHECK(into.shape() == part.shape(), to_string(into.shape()), " += ", to_string(part.shape()));
  kernels<AccumulateKernels>(into.device())
      .accumulate(into.dtype(), into.address(), into.row_stride(), part.dtype(), part.address(), part.row_stride(),
                  into.rows(), into.columns());
}

void convert(const Tensor& into, const Tensor& part) {
  PSCALE_CHECK(into.shape() == part.shape(), to_string(into.shape()), " = ", to_string(part.shape()));
  kernels<AccumulateKernels>(into.device())
      .convert(into.dtype(), into.address(), into.row_stride(), part.dtype(), part.address(), part.row_stride(),
               into.rows(), into.columns());
}

}  // namespace pscale
