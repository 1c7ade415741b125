#include "models/parscale/cross_replica_layer.h"

#include "core/ops/cross_replica.h"
#include "core/ops/shape.h"
#include "parallel/ops/collectives.h"

namespace pscale {

CrossReplicaLayer::CrossReplicaLayer(int layer, const ModelConfig& config, ParameterSet& parameters)
    : config_(&config),
      identical_(config.identical_replicas(layer)),
      projections_(cat("model.layers.", layer, ".cross_replica_attn"), config, true, true, parameters) {}

Var CrossReplicaLayer::operator()(Tape& tape, const Var& x, const Stream& stream) const {
  const HeadSplit& split = projections_.split();
  const auto rotate = [&](Var&& y, int64_t heads) {
    if (!config_->enable_replica_rope) return std::move(y);
    const RotarySpec spec{.first_column = 0,
                          .heads = heads,
                          .head_dim = split.head_dim,
                          .layout = config_->replica_rope_layout == "interleaved" ? RotaryLayout::interleaved
                                                                                  : RotaryLayout::half};
    return rotary_in_place(tape, std::move(y), spec, stream.replica_rotary, stream.row_replicas);
  };
  // Some gradients are zero by mathematics; left to rounding, Adam would turn their noise into steps of full size. Where
  // nothing rotates the keys, their bias shifts all scores of a query alike. Where the replicas are still identical, any
  // softmax gives the same output, so queries and keys do not matter.
  LinearWeights k_weights = projections_.k(tape), q_weights = projections_.q();
  if (identical_ || !config_->enable_replica_rope) k_weights.bias = stop_gradient(tape, k_weights.bias);
  if (identical_) {
    k_weights.weight = stop_gradient(tape, k_weights.weight);
    q_weights = {stop_gradient(tape, q_weights.weight), stop_gradient(tape, q_weights.bias)};
  }
  ColumnInput in(tape, x, stream.mesh->group(Axis::tensor));
  Var kv = rotate(in.linear(tape, {k_weights, projections_.v(tape)}), split.kv_heads);
  kv = reshape(tape, kv, {1, kv.size(0), kv.size(1), kv.size(2)});
  Pending gathering =
      all_gather_start(tape, kv, stream.mesh->group(Axis::replica), Purpose{"cross_replica_kv"});
  const Var q = rotate(in.linear(tape, {q_weights}), split.heads);
  kv = wait(tape, std::move(gathering));
  const Var out = cross_replica_attention(
      tape, q, kv,
      {.heads = static_cast<int>(split.heads), .kv_heads = static_cast<int>(split.kv_heads),
       .head_dim = static_cast<int>(split.head_dim)});
  return row_linear(tape, out, projections_.o(), stream.mesh->group(Axis::tensor));
}

}  // namespace pscale
