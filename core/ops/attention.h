// Causal softmax attention with learned prefixes, sliding windows and document boundaries, block by block (FlashAttention,
// Dao et al. 2022): the score matrix is never held.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct AttentionSpec {
  int64_t batch = 1, length = 1;   ///< B sequences of S positions; token b S + s
  int heads = 1, kv_heads = 1;     ///< N query heads, K key/value heads; query head h uses h / (N / K)
  int head_dim = 1;                ///< D
  int64_t window = 0;              ///< a query sees itself and the window - 1 positions before it; 0: all before it
  bool joint = false;              ///< a query sees the positions of all replicas, not only of its own (xkv)
  Tensor starts;                   ///< int32 [n]: index within the sequence of the document's first position; undefined: 0
};

struct AttentionArgs {
  DType type;
  int64_t batch, length, tokens;   ///< tokens n >= batch * length: the rest is padding
  int64_t streams;                 ///< p, local replicas
  int64_t key_ranks;               ///< R: kv is [R, n, p, 2 K D]; 1 unless joint
  int64_t heads, kv_heads, head_dim, prefix, window;
  bool joint;
  const int32_t* starts;           ///< [n] or null
  const void *q, *kv;              ///< [n, p, N D], [R, n, p, 2 K D] with keys first
  const void *prefix_k, *prefix_v; ///< [p, K, T, D] or null
  void* out;                       ///< [n, p, N D]
  void* lse;                       ///< [p, N, B S] in the accumulation type: log of the sum of e^score
  // Backward only: read `out` and `lse`, write these, every element.
  const void* dout;
  void *dq, *dkv;                  ///< like q and kv
  void *dprefix_k, *dprefix_v;     ///< [p, K, T, D] in the accumulation type, or null
};

struct AttentionKernels {
  Kernel<void(const AttentionArgs& args)> forward, backward;
};

/// q [n, p, N D], rotated; kv [n, p, 2 K D] (keys, then values, of every head), or with `joint` [R, n, p, 2 K D], the
/// replicas of all ranks; prefix_k, prefix_v [p, K, T, D] or undefined: each stream's own, without position, seen by every
/// query -> [n, p, N D]. Rows of padding are zero. Saves its inputs, the output and a number per query and head.
Var attention(Tape& tape, const Var& q, const Var& kv, const Var& prefix_k, const Var& prefix_v,
              const AttentionSpec& spec);

}  // namespace pscale
