#include "core/ops/swiglu.h"

namespace pscale {

void swiglu_forward(const Tensor& gate_up, const Tensor& out) {
  PSCALE_CHECK(gate_up.columns() == 2 * out.columns() && gate_up.rows() == out.rows() && gate_up.contiguous() &&
                   out.contiguous() && gate_up.dtype() == out.dtype(),
               to_string(gate_up.shape()), " -> ", to_string(out.shape()));
  kernels<SwigluKernels>(out.device()).forward(out.dtype(), gate_up.address(), out.address(), out.rows(), out.columns());
}

void swiglu_backward(const Tensor& gate_up, const Tensor& dout, const Tensor& dgate_up) {
  PSCALE_CHECK(gate_up.shape() == dgate_up.shape() && gate_up.columns() == 2 * dout.columns() && dgate_up.contiguous() &&
                   gate_up.contiguous() && dout.contiguous(),
               to_string(gate_up.shape()), ", ", to_string(dout.shape()));
  kernels<SwigluKernels>(dout.device())
      .backward(dout.dtype(), gate_up.address(), dout.address(), dgate_up.address(), dout.rows(), dout.columns());
}

Var silu(Tape& tape, const Var& x) {
  PSCALE_CHECK(x.value().contiguous(), "x is strided");
  const auto& k = kernels<SwigluKernels>(x.device());
  const Tensor y = Tensor::empty_like(x.value());
  k.silu(x.dtype(), x.value().address(), y.address(), y.elements());
  return tape.op(y, {&x}, [&k, x = x.value(), gx = x.gradient()](Tensor dy) {
    const Tensor dx = Tensor::empty_like(x);
    k.silu_backward(x.dtype(), x.address(), dy.address(), dx.address(), x.elements());
    gx->add(dx);
  });
}

}  // namespace pscale
