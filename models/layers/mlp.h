// The gated feed-forward block: down(silu(gate(x)) * up(x)) (SwiGLU, Shazeer 2020).
#pragma once

#include "models/parscale/model_config.h"
#include "models/parscale/stream.h"
#include "parallel/grads/parameter.h"

namespace pscale {

class Mlp {
 public:
  Mlp(int layer, const ModelConfig& config, ParameterSet& parameters);
  /// x [n/T, p, H] -> [n/T, p, H], without the residual.
  Var operator()(Tape& tape, const Var& x, const Stream& stream) const;

 private:
  Parameter *gate_, *up_, *down_;
};

}  // namespace pscale
