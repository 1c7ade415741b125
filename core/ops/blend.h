// Blending replicas (ParScale, Chen et al. 2025): shares from scores, the weighted sum, and how far the streams agree.
#pragma once

#include "core/autograd/tape.h"
#include "core/tensor/dispatch.h"

namespace pscale {

struct BlendKernels {
  /// score, shares [tokens, replicas] of `type`: softmax, then share (1 - smooth) + smooth / P.
  Kernel<void(DType type, const void* score, void* shares, int64_t tokens, int64_t replicas, double smooth)> shares;
  /// dscore from dshares, both [tokens, replicas]; `shares` as computed above.
  Kernel<void(DType type, const void* shares, const void* dshares, void* dscore, int64_t tokens, int64_t replicas,
              double smooth)>
      shares_backward;
  /// x [tokens, local, columns], shares [tokens, replicas] -> out [tokens, columns]: the sum over j of
  /// shares[t, first + j] x[t, j].
  Kernel<void(DType type, const void* x, const void* shares, void* out, int64_t tokens, int64_t local, int64_t columns,
              int64_t replicas, int64_t first)>
      blend;
  /// dx [tokens, local, columns] and dshares [tokens, replicas], zero outside the local columns; either may be null.
  Kernel<void(DType type, const void* x, const void* shares, const void* dout, void* dx, void* dshares, int64_t tokens,
              int64_t local, int64_t columns, int64_t replicas, int64_t first)>
      blend_backward;
  /// Sum over the tokens of the entropy of shares [tokens, replicas], in nats.
  Kernel<double(DType type, const void* shares, int64_t tokens, int64_t replicas)> entropy;
  /// x [tokens, local, columns] -> out [tokens, columns]: the sum over j of x[t, j] / |x[t, j]|.
  Kernel<void(DType type, const void* x, void* out, int64_t tokens, int64_t local, int64_t columns)> directions;
};

/// score [m, P] -> shares [m, P].
Var shares(Tape& tape, const Var& score, double smooth);

/// x [m, p, H], the local streams first ... first + p - 1; shares [m, P] -> this rank's part of the blend, [m, H].
Var blend(Tape& tape, const Var& x, const Var& shares, int64_t first);

/// Sum of the entropies of the first `rows` rows of shares [m, P].
double share_entropy_sum(const Tensor& shares, int64_t rows);

/// x [m, p, H] -> out [m, H]: the sum of the streams' directions. Over all P streams its squared length s gives their mean
/// cosine, (s - P) / (P (P - 1)).
void normalized_sum(const Tensor& x, const Tensor& out);

}  // namespace pscale
