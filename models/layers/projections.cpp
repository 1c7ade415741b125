#include "models/layers/projections.h"

#include "core/ops/shape.h"

namespace pscale {

HeadSplit::HeadSplit(const ModelConfig& config, Communicator& tensor) {
  const int64_t ranks = tensor.size(), all = config.num_key_value_heads;
  heads = config.num_attention_heads / ranks;
  kv_whole = ranks > all;
  kv_heads = kv_whole ? 1 : all / ranks;
  first_kv_head = tensor.rank() * all / ranks;
  head_dim = config.head_size();
}

Projections::Projections(const std::string& prefix, const ModelConfig& config, bool bias, bool added,
                         ParameterSet& parameters)
    : split_(config, parameters.mesh().group(Axis::tensor)) {
  const int64_t hidden = config.hidden_size, d = config.head_size();
  const Placement by_output{{Axis::tensor, 0}}, by_input{{Axis::tensor, 1}};
  const Placement kv_placement = split_.kv_whole ? Placement{} : by_output;
  const Initializer normal{Initializer::Kind::normal, config.initializer_range};
  const auto declare = [&](const char* which, int64_t count, const Placement& placement, Parameter*& weight,
                           Parameter*& bias_of) {
    const std::string name = cat(prefix, ".", which, "_proj");
    weight = &parameters.declare({.name = name + ".weight",
                                  .shape = {count * d, hidden},
                                  .placement = placement,
                                  .initializer = normal,
                                  .decay = true,
                                  .added = added});
    if (bias)
      bias_of = &parameters.declare({.name = name + ".bias",
                                     .shape = {count * d},
                                     .placement = placement,
                                     .initializer = {Initializer::Kind::zeros},
                                     .added = added});
  };
  declare("q", config.num_attention_heads, by_output, q_weight_, q_bias_);
  declare("k", config.num_key_value_heads, kv_placement, k_weight_, k_bias_);
  declare("v", config.num_key_value_heads, kv_placement, v_weight_, v_bias_);
  o_weight_ = &parameters.declare({.name = prefix + ".o_proj.weight",
                                   .shape = {hidden, config.num_attention_heads * d},
                                   .placement = by_input,
                                   .initializer = normal,
                                   .decay = true,
                                   .added = added});
}

LinearWeights Projections::q() const { return {q_weight_->var(), q_bias_ ? q_bias_->var() : Var()}; }

LinearWeights Projections::kv(Tape& tape, const Parameter* weight, const Parameter* bias) const {
  LinearWeights whole{weight->var(), bias ? bias->var() : Var()};
  if (!split_.kv_whole) return whole;
  const int64_t d = split_.head_dim, start = split_.first_kv_head * d;
  return {narrow(tape, whole.weight, 0, start, d), bias ? narrow(tape, whole.bias, 0, start, d) : Var()};
}

}  // namespace pscale
