// Declaring the projections of an attention layer, and their slices on a tensor rank.
#pragma once

#include "models/parscale/model_config.h"
#include "parallel/grads/parameter.h"
#include "parallel/ops/linear.h"

namespace pscale {

/// How heads are spread over T tensor ranks: N/T query heads each; K/T key/value heads where T <= K, else one, which
/// T/K neighbouring ranks share.
struct HeadSplit {
  int64_t heads, kv_heads, head_dim;   ///< on this rank
  int64_t first_kv_head;               ///< of the whole layer
  bool kv_whole;                       ///< T > K: key/value parameters have no tensor placement, a rank uses its slice
  HeadSplit(const ModelConfig& config, Communicator& tensor);
};

/// q, k, v and o of one attention layer under `prefix` (model.layers.3.self_attn).
class Projections {
 public:
  Projections(const std::string& prefix, const ModelConfig& config, bool bias, bool added, ParameterSet& parameters);

  LinearWeights q() const;
  LinearWeights k(Tape& tape) const { return kv(tape, k_weight_, k_bias_); }
  LinearWeights v(Tape& tape) const { return kv(tape, v_weight_, v_bias_); }
  Var o() const { return o_weight_->var(); }
  const HeadSplit& split() const { return split_; }

 private:
  LinearWeights kv(Tape& tape, const Parameter* weight, const Parameter* bias) const;
  HeadSplit split_;
  Parameter *q_weight_ = nullptr, *k_weight_ = nullptr, *v_weight_ = nullptr, *o_weight_ = nullptr;
  Parameter *q_bias_ = nullptr, *k_bias_ = nullptr, *v_bias_ = nullptr;
};

}  // namespace pscale
