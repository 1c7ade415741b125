#include "core/ops/cross_replica.h"

namespace pscale {

namespace {

CrossReplicaArgs make_args(const Tensor& q, const Tensor& kv, const CrossReplicaSpec& s) {
  CrossReplicaArgs a{};
  a.type = q.dtype();
  a.tokens = q.size(0);
  a.streams = q.size(1);
  a.key_ranks = kv.size(0);
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_dim = s.head_dim;
  a.q = q.address();
  a.kv = kv.address();
  return a;
}

}  // namespace

Var cross_replica_attention(Tape& tape, const Var& q, const Var& kv, const CrossReplicaSpec& spec) {
  PSCALE_CHECK(q.value().rank() == 3 && q.value().contiguous() && q.size(2) == spec.heads * spec.head_dim, "q ",
               to_string(q.shape()));
  PSCALE_CHECK(kv.shape() == (Shape{kv.size(0), q.size(0), q.size(1), int64_t{2} * spec.kv_heads * spec.head_dim}) &&
                   kv.value().contiguous() && kv.dtype() == q.dtype() && spec.heads % spec.kv_heads == 0,
               "kv ", to_string(kv.shape()));
  const auto& k = kernels<CrossReplicaKernels>(q.device());
  const Tensor out = Tensor::empty_like(q.value());
  CrossReplicaArgs args = make_args(q.value(), kv.value(), spec);
  args.out = out.address();
  k.forward(args);
  return tape.op(out, {&q, &kv},
                 [&k, q = q.value(), kv = kv.value(), gq = q.gradient(), gkv = kv.gradient(), spec](Tensor dout) {
                   const Tensor dq = Tensor::empty_like(q), dkv = Tensor::empty_like(kv);
                   CrossReplicaArgs args = make_args(q, kv, spec);
                   args.dout = dout.address();
                   args.dq = dq.address();
                   args.dkv = dkv.address();
                   k.backward(args);
                   if (gq) gq->add(dq);
                   if (gkv) gkv->add(dkv);
                 });
}

}  // namespace pscale
