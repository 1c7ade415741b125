// Cross-replica attention (parscale-xattn): at every token each stream attends to the same token of all replicas.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct CrossReplicaSpec {
  int heads = 1, kv_heads = 1;  ///< N, K; query head h uses h / (N / K)
  int head_dim = 1;             ///< D
};

struct CrossReplicaArgs {
  DType type;
  int64_t tokens, streams, key_ranks;  ///< n, p, R
  int64_t heads, kv_heads, head_dim;
  const void *q, *kv;                  ///< [n, p, N D], [R, n, p, 2 K D], keys first
  void* out;                           ///< [n, p, N D]
  // Backward only: writes every element of these.
  const void* dout;
  void *dq, *dkv;                      ///< like q and kv
};

struct CrossReplicaKernels {
  Kernel<void(const CrossReplicaArgs& args)> forward, backward;
};

/// q [n, p, N D] of the local streams, kv [R, n, p, 2 K D] of all P = R p replicas -> [n, p, N D]. Softmax over the P keys
/// at the same token, scores scaled by 1/sqrt(D). Saves q and kv.
Var cross_replica_attention(Tape& tape, const Var& q, const Var& kv, const CrossReplicaSpec& spec);

}  // namespace pscale
