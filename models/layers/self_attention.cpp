#include "models/layers/self_attention.h"

#include "core/ops/attention.h"
#include "core/ops/rotary.h"
#include "core/ops/shape.h"
#include "parallel/ops/collectives.h"

namespace pscale {

SelfAttention::SelfAttention(int layer, const ModelConfig& config, ParameterSet& parameters)
    : config_(&config),
      projections_(cat("model.layers.", layer, ".self_attn"), config, config.attention_bias, false, parameters),
      window_(config.window(layer).value_or(0)) {
  if (config.parscale_n_tokens == 0) return;
  Placement placement{{Axis::replica, 0}};
  if (!projections_.split().kv_whole) placement = Placement{{Axis::replica, 0}, {Axis::tensor, 1}};
  const auto declare = [&](const char* which) {
    return &parameters.declare({.name = cat("model.layers.", layer, ".self_attn.prefix_", which),
                                .shape = {config.parscale_n, config.num_key_value_heads, config.parscale_n_tokens,
                                          config.head_size()},
                                .placement = placement,
                                .initializer = {Initializer::Kind::normal, config.initializer_range},
                                .added = true});
  };
  prefix_k_ = declare("k");
  prefix_v_ = declare("v");
}

Var SelfAttention::prefix(Tape& tape, const Parameter* parameter) const {
  if (parameter == nullptr) return {};
  const HeadSplit& split = projections_.split();
  return split.kv_whole ? narrow(tape, parameter->var(), 1, split.first_kv_head, 1) : parameter->var();
}

Var SelfAttention::operator()(Tape& tape, const Var& x, const Stream& stream) const {
  const HeadSplit& split = projections_.split();
  const int64_t d = split.head_dim;
  const RotarySpec rotate_q{.first_column = 0, .heads = split.heads, .head_dim = d};
  const RotarySpec rotate_k{.first_column = 0, .heads = split.kv_heads, .head_dim = d};

  ColumnInput in(tape, x, stream.mesh->group(Axis::tensor));
  Var kv = in.linear(tape, {projections_.k(tape), projections_.v(tape)});
  kv = rotary_in_place(tape, std::move(kv), rotate_k, stream.rotary, stream.row_positions);
  Pending gathering;
  if (config_->enable_xkv_attn) {
    const Var once = kv.value().rank() == 3 ? reshape(tape, kv, {1, kv.size(0), kv.size(1), kv.size(2)}) : kv;
    gathering = all_gather_start(tape, once, stream.mesh->group(Axis::replica), Purpose{"joint_kv"});
  }
  Var q = in.linear(tape, {projections_.q()});
  q = rotary_in_place(tape, std::move(q), rotate_q, stream.rotary, stream.row_positions);
  if (config_->enable_xkv_attn) kv = wait(tape, std::move(gathering));

  AttentionSpec spec;
  spec.batch = stream.batch.sequences;
  spec.length = stream.batch.length;
  spec.heads = static_cast<int>(split.heads);
  spec.kv_heads = static_cast<int>(split.kv_heads);
  spec.head_dim = static_cast<int>(d);
  spec.window = window_;
  spec.joint = config_->enable_xkv_attn;
  spec.starts = stream.batch.starts;
  const Var out = attention(tape, q, kv, prefix(tape, prefix_k_), prefix(tape, prefix_v_), spec);
  return row_linear(tape, out, projections_.o(), stream.mesh->group(Axis::tensor));
}

}  // namespace pscale
