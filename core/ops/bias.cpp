#include "core/ops/bias.h"

namespace pscale {

Var add_bias(Tape& tape, Var&& x, const Var& bias) {
  PSCALE_CHECK(x.value().contiguous() && bias.shape() == Shape{x.value().columns()} && bias.dtype() == x.dtype(),
               to_string(bias.shape()), " onto ", to_string(x.shape()));
  kernels<BiasKernels>(x.device())
      .add(x.dtype(), x.value().address(), bias.value().address(), x.value().rows(), x.value().columns());
  return tape.op(x.value(), {&x, &bias}, [gx = x.gradient(), gb = bias.gradient()](Tensor dy) {
    if (gb) {
      const Gradient::Target db = gb->target();
      column_sums(dy, db.tensor, db.accumulate);
    }
    if (gx) gx->add(std::move(dy));
  });
}

void column_sums(const Tensor& x, const Tensor& sums, bool accumulate) {
  PSCALE_CHECK(sums.shape() == Shape{x.columns()}, to_string(sums.shape()), " from ", to_string(x.shape()));
  kernels<BiasKernels>(x.device())
      .column_sums(x.dtype(), x.address(), x.row_stride(), sums.dtype(), sums.address(), accumulate, x.rows(),
                   x.columns());
}

}  // namespace pscale
