// What every layer of a forward pass shares besides its input.
#pragma once

#include "core/ops/rotary.h"
#include "models/parscale/batch.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

/// Activations are token-major, replica-minor: [n/T, p, H] between layers and [n, p, ...] inside them, where n is the
/// padded tokens of the micro-batch and p = P/R the replicas of this rank.
struct Stream {
  const Mesh* mesh = nullptr;
  Batch batch;                  ///< shares its tensors
  int64_t replicas = 1;         ///< p
  int64_t first_replica = 0;    ///< r p
  RotaryTable rotary;           ///< of positions
  Tensor row_positions;         ///< int32 [n p]: the position of each row
  RotaryTable replica_rotary;   ///< of replica numbers; only with replica rotary
  Tensor row_replicas;          ///< int32 [n p]: the replica of each row
};

}  // namespace pscale
