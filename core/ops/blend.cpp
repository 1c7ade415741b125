#include "core/ops/blend.h"

namespace pscale {

Var shares(Tape& tape, const Var& score, double smooth) {
  PSCALE_CHECK(score.value().rank() == 2 && score.value().contiguous(), to_string(score.shape()));
  const auto& k = kernels<BlendKernels>(score.device());
  const int64_t tokens = score.size(0), replicas = score.size(1);
  const Tensor out = Tensor::empty_like(score.value());
  k.shares(score.dtype(), score.value().address(), out.address(), tokens, replicas, smooth);
  return tape.op(out, {&score}, [&k, out, gs = score.gradient(), tokens, replicas, smooth](Tensor dy) {
    const Tensor ds = Tensor::empty_like(out);
    k.shares_backward(out.dtype(), out.address(), dy.address(), ds.address(), tokens, replicas, smooth);
    gs->add(ds);
  });
}

Var blend(Tape& tape, const Var& x, const Var& shares, int64_t first) {
  const int64_t tokens = x.size(0), local = x.size(1), columns = x.size(2), replicas = shares.size(1);
  PSCALE_CHECK(x.value().contiguous() && shares.size(0) == tokens && first + local <= replicas &&
                   shares.dtype() == x.dtype() && shares.value().contiguous(),
               to_string(x.shape()), " by ", to_string(shares.shape()), " from ", first);
  const auto& k = kernels<BlendKernels>(x.device());
  const Tensor out = Tensor::empty(x.device(), {tokens, columns}, x.dtype());
  k.blend(x.dtype(), x.value().address(), shares.value().address(), out.address(), tokens, local, columns, replicas, first);
  return tape.op(out, {&x, &shares},
                 [&k, x = x.value(), s = shares.value(), gx = x.gradient(), gs = shares.gradient(), first](Tensor dy) {
                   const Tensor dx = gx ? Tensor::empty_like(x) : Tensor(), ds = gs ? Tensor::empty_like(s) : Tensor();
                   k.blend_backward(x.dtype(), x.address(), s.address(), dy.address(), gx ? dx.address() : nullptr,
                                    gs ? ds.address() : nullptr, x.size(0), x.size(1), x.size(2), s.size(1), first);
                   if (gx) gx->add(dx);
                   if (gs) gs->add(ds);
                 });
}

double share_entropy_sum(const Tensor& shares, int64_t rows) {
  PSCALE_CHECK(rows <= shares.size(0) && shares.contiguous(), rows, " of ", to_string(shares.shape()));
  return kernels<BlendKernels>(shares.device()).entropy(shares.dtype(), shares.address(), rows, shares.size(1));
}

void normalized_sum(const Tensor& x, const Tensor& out) {
  PSCALE_CHECK(x.rank() == 3 && out.shape() == (Shape{x.size(0), x.size(2)}) && x.dtype() == out.dtype(),
               to_string(x.shape()), " -> ", to_string(out.shape()));
  kernels<BlendKernels>(x.device())
      .directions(x.dtype(), x.address(), out.address(), x.size(0), x.size(1), x.size(2));
}

}  // namespace pscale
