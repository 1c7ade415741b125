// Blending the replicas: a small scorer gives each token a share for each replica; the output is the weighted sum.
#pragma once

#include "models/parscale/model_config.h"
#include "models/parscale/stream.h"
#include "parallel/grads/parameter.h"

namespace pscale {

/// Sums over this rank's real tokens, for the metrics.
struct BlendStatistics {
  double entropy = 0;   ///< of the shares, in nats
  double cosine = 0;    ///< mean similarity of the streams, averaged over pairs
  int64_t tokens = 0;   ///< summed over
};

class Aggregation {
 public:
  Aggregation(const ModelConfig& config, ParameterSet& parameters);

  /// x [n/T, p, H] -> [n/(T R), H]. Where `statistics` is given it is added to; that costs a collective.
  Var operator()(Tape& tape, const Var& x, const Stream& stream, BlendStatistics* statistics) const;

 private:
  const ModelConfig* config_;
  Parameter *first_weight_, *first_bias_, *second_weight_, *second_bias_;
};

}  // namespace pscale
