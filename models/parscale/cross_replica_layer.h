// Cross-replica attention: each position of each replica attends to the same position of all replicas
// (parscale-xattn). Keys and values travel over the replica axis while the queries are projected.
#pragma once

#include "models/layers/projections.h"
#include "models/parscale/stream.h"

namespace pscale {

class CrossReplicaLayer {
 public:
  CrossReplicaLayer(int layer, const ModelConfig& config, ParameterSet& parameters);
  /// x [n/T, p, H] -> [n/T, p, H], without the residual.
  Var operator()(Tape& tape, const Var& x, const Stream& stream) const;

 private:
  const ModelConfig* config_;
  bool identical_;  ///< the replicas have not parted yet
  Projections projections_;
};

}  // namespace pscale
