#include "core/ops/rms_norm.h"

namespace pscale {

Var rms_norm(Tape& tape, const Var& x, const Var& weight, double eps) {
  const int64_t columns = x.value().columns(), rows = x.value().rows();
  PSCALE_CHECK(weight.shape() == Shape{columns} && weight.dtype() == x.dtype(), "weight ", to_string(weight.shape()),
               " for x ", to_string(x.shape()));
  PSCALE_CHECK(x.value().contiguous(), "x is strided");
  const auto& k = kernels<RmsNormKernels>(x.device());
  const Tensor y = Tensor::empty_like(x.value());
  const DType sums = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const Tensor scale = Tensor::empty(x.device(), {rows}, sums);
  k.forward(x.dtype(), x.value().address(), weight.value().address(), y.address(), scale.address(), rows, columns, eps);
  return tape.op(y, {&x, &weight},
                 [&k, x = x.value(), w = weight.value(), scale, gx = x.gradient(), gw = weight.gradient(), rows,
                  columns](Tensor dy) {
                   Gradient::Target dx{}, dw{};
                   if (gx) dx = gx->target();
                   if (gw) dw = gw->target();
                   k.backward(x.dtype(), x.address(), w.address(), scale.address(), dy.address(),
                              gx ? dx.tensor.address() : nullptr, dx.accumulate, gw ? gw->dtype() : DType::float32,
                              gw ? dw.tensor.address() : nullptr, dw.accumulate, rows, columns);
                 });
}

}  // namespace pscale
