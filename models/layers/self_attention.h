// Causal self-attention of each local replica over its own prefix and its own positions, or, with joint attention
// (xkv), over the positions of all replicas.
#pragma once

#include "models/layers/projections.h"
#include "models/parscale/stream.h"

namespace pscale {

class SelfAttention {
 public:
  /// Declares the layer's projections and prefix.
  SelfAttention(int layer, const ModelConfig& config, ParameterSet& parameters);

  /// x [n/T, p, H] -> [n/T, p, H], without the residual.
  Var operator()(Tape& tape, const Var& x, const Stream& stream) const;

 private:
  Var prefix(Tape& tape, const Parameter* parameter) const;
  const ModelConfig* config_;
  Projections projections_;
  Parameter *prefix_k_ = nullptr, *prefix_v_ = nullptr;
  int64_t window_;
};

}  // namespace pscale
