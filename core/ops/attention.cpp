#include "core/ops/attention.h"

#include "core/tensor/accumulate.h"

namespace pscale {

namespace {

AttentionArgs make_args(const Tensor& q, const Tensor& kv, const Tensor& prefix_k, const Tensor& prefix_v,
                        const AttentionSpec& s) {
  AttentionArgs a{};
  a.type = q.dtype();
  a.batch = s.batch;
  a.length = s.length;
  a.tokens = q.size(0);
  a.streams = q.size(1);
  a.key_ranks = kv.rank() == 4 ? kv.size(0) : 1;
  a.heads = s.heads;
  a.kv_heads = s.kv_heads;
  a.head_dim = s.head_dim;
  a.prefix = prefix_k.defined() ? prefix_k.size(2) : 0;
  a.window = s.window;
  a.joint = s.joint;
  a.starts = s.starts.defined() ? s.starts.data<int32_t>() : nullptr;
  a.q = q.address();
  a.kv = kv.address();
  a.prefix_k = prefix_k.defined() ? prefix_k.address() : nullptr;
  a.prefix_v = prefix_v.defined() ? prefix_v.address() : nullptr;
  return a;
}

void check(const Tensor& q, const Tensor& kv, const Tensor& prefix_k, const Tensor& prefix_v, const AttentionSpec& s) {
  PSCALE_CHECK(q.rank() == 3 && q.contiguous() && q.size(2) == s.heads * s.head_dim && q.size(0) >= s.batch * s.length,
               "q ", to_string(q.shape()));
  PSCALE_CHECK(s.heads % s.kv_heads == 0, s.heads, " heads on ", s.kv_heads);
  const int64_t columns = 2 * s.kv_heads * s.head_dim;
  PSCALE_CHECK(kv.contiguous() && kv.dtype() == q.dtype() && kv.columns() == columns &&
                   (s.joint ? kv.rank() == 4 && kv.size(1) == q.size(0) && kv.size(2) == q.size(1)
                            : kv.rank() == 3 && kv.size(0) == q.size(0) && kv.size(1) == q.size(1)),
               "kv ", to_string(kv.shape()));
  for (const Tensor& prefix : {prefix_k, prefix_v})
    PSCALE_CHECK(!prefix.defined() || (prefix.rank() == 4 && prefix.contiguous() && prefix.dtype() == q.dtype() &&
                                       prefix.size(0) == q.size(1) && prefix.size(1) == s.kv_heads &&
                                       prefix.size(3) == s.head_dim),
                 "prefix ", to_string(prefix.shape()));
  PSCALE_CHECK(prefix_k.defined() == prefix_v.defined(), "one prefix without the other");
  PSCALE_CHECK(!s.starts.defined() || (s.starts.dtype() == DType::int32 && s.starts.elements() >= s.batch * s.length),
               "starts");
}

}  // namespace

Var attention(Tape& tape, const Var& q, const Var& kv, const Var& prefix_k, const Var& prefix_v,
              const AttentionSpec& spec) {
  check(q.value(), kv.value(), prefix_k.value(), prefix_v.value(), spec);
  const auto& k = kernels<AttentionKernels>(q.device());
  const DType sums = q.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const Tensor out = Tensor::empty_like(q.value());
  const Tensor lse = Tensor::empty(q.device(), {q.size(1), spec.heads, spec.batch * spec.length}, sums);
  AttentionArgs args = make_args(q.value(), kv.value(), prefix_k.value(), prefix_v.value(), spec);
  args.out = out.address();
  args.lse = lse.address();
  k.forward(args);
  return tape.op(out, {&q, &kv, &prefix_k, &prefix_v},
                 [&k, q = q.value(), kv = kv.value(), pk = prefix_k.value(), pv = prefix_v.value(), gq = q.gradient(),
                  gkv = kv.gradient(), gpk = prefix_k.gradient(), gpv = prefix_v.gradient(), out, lse, spec,
                  sums](Tensor dout) {
                   const Tensor dq = Tensor::empty_like(q), dkv = Tensor::empty_like(kv);
                   Tensor dpk, dpv;
                   AttentionArgs args = make_args(q, kv, pk, pv, spec);
                   if (pk.defined() && (gpk || gpv)) {
                     dpk = Tensor::empty(q.device(), pk.shape(), sums);
                     dpv = Tensor::empty(q.device(), pk.shape(), sums);
                     args.dprefix_k = dpk.address();
                     args.dprefix_v = dpv.address();
                   }
                   args.out = out.address();
                   args.lse = lse.address();
                   args.dout = dout.address();
                   args.dq = dq.address();
                   args.dkv = dkv.address();
                   k.backward(args);
                   if (gq) gq->add(dq);
                   if (gkv) gkv->add(dkv);
                   if (gpk) gpk->add(dpk);
                   if (gpv) gpv->add(dpv);
                 });
}

}  // namespace pscale
