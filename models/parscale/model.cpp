#include "models/parscale/model.h"

#include <algorithm>

#include "core/autograd/recompute.h"
#include "core/ops/add.h"
#include "core/ops/matmul.h"
#include "core/ops/rms_norm.h"
#include "core/ops/shape.h"
#include "core/tensor/accumulate.h"
#include "models/layers/mlp.h"
#include "models/layers/rotary_tables.h"
#include "models/layers/self_attention.h"
#include "models/parscale/cross_replica_layer.h"
#include "parallel/ops/collectives.h"

namespace pscale {

namespace {

Parameter* declare_norm(const std::string& name, const ModelConfig& config, bool added, ParameterSet& parameters) {
  return &parameters.declare({.name = name + ".weight",
                              .shape = {config.hidden_size},
                              .initializer = {Initializer::Kind::ones},
                              .added = added});
}

Parameter* declare_vocabulary(const std::string& name, const ModelConfig& config, ParameterSet& parameters) {
  return &parameters.declare({.name = name,
                              .shape = {config.vocab_size, config.hidden_size},
                              .placement = {{Axis::tensor, 0}},
                              .initializer = {Initializer::Kind::normal, config.initializer_range},
                              .decay = true});
}

/// int32 [tokens * repeat]: value(t, j) for each token and replica.
template <class F>
Tensor row_index(const Device& device, int64_t tokens, int64_t repeat, F&& value) {
  const Tensor index = Tensor::empty(device, {tokens * repeat}, DType::int32);
  int32_t* out = index.data<int32_t>();
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < repeat; ++j) out[t * repeat + j] = static_cast<int32_t>(value(t, j));
  return index;
}

}  // namespace

class ParScaleModel::Layer {
 public:
  Layer(int index, const ModelConfig& config, ParameterSet& parameters) : eps_(config.rms_norm_eps) {
    const std::string name = cat("model.layers.", index);
    if (config.has_cross_attn(index)) {
      cross_norm_ = declare_norm(name + ".cross_replica_layernorm", config, true, parameters);
      cross_ = std::make_unique<CrossReplicaLayer>(index, config, parameters);
    }
    attention_norm_ = declare_norm(name + ".input_layernorm", config, false, parameters);
    attention_ = std::make_unique<SelfAttention>(index, config, parameters);
    mlp_norm_ = declare_norm(name + ".post_attention_layernorm", config, false, parameters);
    mlp_ = std::make_unique<Mlp>(index, config, parameters);
  }

  /// `stream` is shared with what is recomputed after the forward pass has returned.
  Var operator()(Tape& tape, const Var& x, const std::shared_ptr<const Stream>& stream, Recompute what) const {
    const auto attention = [this, stream](Tape& t, const Var& in) { return attend(t, in, *stream); };
    const auto block = [this, stream](Tape& t, const Var& in) {
      return feed_forward(t, attend(t, in, *stream), *stream);
    };
    if (what == Recompute::block) return recompute(tape, x, block);
    if (what == Recompute::attention) return feed_forward(tape, recompute(tape, x, attention), *stream);
    return block(tape, x);
  }

 private:
  Var attend(Tape& tape, Var x, const Stream& stream) const {
    if (cross_) x = add_into(tape, x, (*cross_)(tape, rms_norm(tape, x, cross_norm_->var(), eps_), stream));
    return add_into(tape, x, (*attention_)(tape, rms_norm(tape, x, attention_norm_->var(), eps_), stream));
  }
  Var feed_forward(Tape& tape, const Var& x, const Stream& stream) const {
    return add_into(tape, x, (*mlp_)(tape, rms_norm(tape, x, mlp_norm_->var(), eps_), stream));
  }

  double eps_;
  Parameter *cross_norm_ = nullptr, *attention_norm_, *mlp_norm_;
  std::unique_ptr<CrossReplicaLayer> cross_;
  std::unique_ptr<SelfAttention> attention_;
  std::unique_ptr<Mlp> mlp_;
};

ParScaleModel::ParScaleModel(const ModelConfig& config, ParameterSet& parameters, Recompute recompute)
    : config_(config),
      mesh_(&parameters.mesh()),
      device_(&parameters.device()),
      dtype_(parameters.dtype()),
      recompute_(recompute) {
  embedding_ = declare_vocabulary("model.embed_tokens.weight", config_, parameters);
  for (int i = 0; i < config_.num_hidden_layers; ++i)
    layers_.push_back(std::make_unique<Layer>(i, config_, parameters));
  norm_ = declare_norm("model.norm", config_, false, parameters);
  if (config_.parscale_n > 1) aggregation_ = std::make_unique<Aggregation>(config_, parameters);
  if (!config_.tie_word_embeddings) head_ = declare_vocabulary("lm_head.weight", config_, parameters);
}

ParScaleModel::~ParScaleModel() = default;

int64_t ParScaleModel::token_multiple() const { return mesh_->layout().tensor * mesh_->layout().replica; }

Var ParScaleModel::head() const { return (head_ ? head_ : embedding_)->var(); }

Stream ParScaleModel::make_stream(const Batch& batch) const {
  Stream stream;
  stream.mesh = mesh_;
  stream.batch = batch;
  stream.replicas = config_.parscale_n / mesh_->layout().replica;
  stream.first_replica = mesh_->coordinates().replica * stream.replicas;
  stream.rotary = rotary_table(
      *device_,
      rotary_angles(config_.rope_scaling, config_.rope_theta, config_.head_size(), config_.max_position_embeddings),
      batch.length, dtype_);
  const int32_t* positions = batch.positions.data<int32_t>();
  stream.row_positions =
      row_index(*device_, batch.tokens, stream.replicas, [&](int64_t t, int64_t) { return positions[t]; });
  if (config_.enable_replica_rope) {
    stream.replica_rotary = 
        rotary_table(*device_, rotary_angles(10000, config_.head_size()), config_.parscale_n, dtype_);
    stream.row_replicas = row_index(*device_, batch.tokens, stream.replicas,
                                    [&](int64_t, int64_t j) { return stream.first_replica + j; });
  }
  return stream;
}

Var ParScaleModel::hidden(Tape& tape, const Batch& batch, BlendStatistics* statistics) const {
  const auto stream = std::make_shared<const Stream>(make_stream(batch));
  Var x = vocabulary_embedding(tape, embedding_->var(), batch.inputs, mesh_->group(Axis::tensor));
  x = replicate(tape, x, stream->replicas);
  for (const auto& layer : layers_) x = (*layer)(tape, x, stream, recompute_);
  x = rms_norm(tape, x, norm_->var(), config_.rms_norm_eps);
  if (aggregation_) return (*aggregation_)(tape, x, *stream, statistics);
  return reshape(tape, x, {x.size(0), x.size(2)});
}

VocabularyLoss ParScaleModel::loss(Tape& tape, const Batch& batch, double scale, BlendStatistics* statistics) const {
  const Var h = hidden(tape, batch, statistics);
  // Tokens are cut over tensor, then over replica: tensor rank t holds slice t R + r.
  const Layout& layout = mesh_->layout();
  const int64_t m = h.size(0), r = mesh_->coordinates().replica;
  const Tensor targets = Tensor::empty(*device_, {layout.tensor * m}, DType::int32);
  for (int64_t t = 0; t < layout.tensor; ++t)
    targets.narrow(t * m, m).copy_from(batch.targets.narrow((t * layout.replica + r) * m, m));
  return vocabulary_loss(tape, h, head(), targets, mesh_->group(Axis::tensor), config_.vocab_size, scale);
}

Tensor ParScaleModel::logits(const Batch& batch) const {
  Tape off(Tape::Mode::off);
  const Tensor h = hidden(off, batch, nullptr).value();
  Communicator& both = mesh_->group(AxisSet{Axis::replica, Axis::tensor});
  const Layout& layout = mesh_->layout();
  const Tensor all = Tensor::empty(*device_, gathered_shape(h, both), h.dtype());
  all_gather_into(h, all, both, Purpose{"logits"}).wait();
  Tensor ordered = Tensor::empty_like(all);  // group order is (r, t); tokens are cut as (t, r)
  const int64_t m = h.size(0);
  for (int64_t r = 0; r < layout.replica; ++r)
    for (int64_t t = 0; t < layout.tensor; ++t)
      ordered.narrow((t * layout.replica + r) * m, m).copy_from(all.narrow((r * layout.tensor + t) * m, m));
  ordered = ordered.narrow(0, batch.sequences * batch.length);

  Communicator& tensor = mesh_->group(Axis::tensor);
  const Tensor weight = head().value();
  const Tensor part = Tensor::empty(*device_, {1, ordered.size(0), weight.size(0)}, h.dtype());
  matmul(ordered, Transpose::no, weight, Transpose::yes, part.reshape({ordered.size(0), weight.size(0)}), false);
  const Tensor parts = Tensor::empty(*device_, gathered_shape(part, tensor), h.dtype());
  all_gather_into(part, parts, tensor, Purpose{"logits"}).wait();
  const Tensor out = Tensor::empty(*device_, {ordered.size(0), config_.vocab_size}, h.dtype());
  for (int64_t t = 0; t < tensor.size(); ++t) {
    const int64_t first = t * weight.size(0), count = std::min(weight.size(0), config_.vocab_size - first);
    if (count <= 0) break;
    out.columns(first, count).copy_from(parts.narrow(t, 1).reshape({ordered.size(0), weight.size(0)}).columns(0, count));
  }
  return out;
}

}  // namespace pscale
