#include "models/parscale/aggregation.h"

#include <algorithm>

#include "core/ops/bias.h"
#include "core/ops/adamw.h"
#include "core/ops/blend.h"
#include "core/ops/shape.h"
#include "core/ops/swiglu.h"
#include "parallel/comm/self.h"
#include "parallel/ops/collectives.h"
#include "parallel/ops/linear.h"

namespace pscale {

Aggregation::Aggregation(const ModelConfig& config, ParameterSet& parameters) : config_(&config) {
  const int64_t h = config.hidden_size, p = config.parscale_n;
  const Initializer normal{Initializer::Kind::normal, config.initializer_range}, zeros{Initializer::Kind::zeros};
  // Hugging Face stores [H, H P] with the replica fastest; seen as [H, H, P] the replica axis cuts the last dim.
  first_weight_ = &parameters.declare({.name = "model.aggregate_layer.0.weight",
                                       .shape = {h, h, p},
                                       .placement = {{Axis::replica, 2}},
                                       .initializer = normal,
                                       .decay = true,
                                       .added = true,
                                       .file_shape = {h, h * p}});
  first_bias_ = &parameters.declare(
      {.name = "model.aggregate_layer.0.bias", .shape = {h}, .initializer = zeros, .added = true});
  second_weight_ = &parameters.declare({.name = "model.aggregate_layer.2.weight",
                                        .shape = {p, h},
                                        .initializer = normal,
                                        .decay = true,
                                        .added = true});
  second_bias_ = &parameters.declare(
      {.name = "model.aggregate_layer.2.bias", .shape = {p}, .initializer = zeros, .added = true});
}

Var Aggregation::operator()(Tape& tape, const Var& x, const Stream& stream, BlendStatistics* statistics) const {
  const int64_t tokens = x.size(0), p = x.size(1), h = x.size(2);
  Communicator& replica = stream.mesh->group(Axis::replica);
  Communicator& alone = stream.mesh->group(AxisSet{});

  // Score: each rank adds its streams' part; the bias comes after the sum, so that it counts once.
  const Var w = reshape(tape, swap_last_dims(tape, first_weight_->var()), {h, p * h});
  Var score = row_linear(tape, reshape(tape, x, {tokens, p * h}), w, replica, RowActivation::none, Purpose{"score"});
  score = silu(tape, add_bias(tape, std::move(score), first_bias_->var()));
  score = row_linear(tape, score, second_weight_->var(), alone);
  score = add_bias(tape, std::move(score), second_bias_->var());
  const Var own_shares = shares(tape, score, config_->parscale_attn_smooth);

  Var all_shares = all_gather(tape, own_shares, replica, Purpose{"shares"});
  // Of identical streams any blend is the same: the scorer's gradient is zero by mathematics, not noise for Adam.
  if (config_->identical_replicas(config_->num_hidden_layers)) all_shares = stop_gradient(tape, all_shares);
  const Var part = blend(tape, x, all_shares, stream.first_replica);
  const Var out = reduce_scatter(tape, part, replica, Purpose{"blend"});

  if (statistics != nullptr) {
    // Padding is at the end of the batch; this rank's tokens start at its slice.
    const int64_t slice = stream.mesh->coordinates().tensor * tokens;
    const int64_t own = slice + replica.rank() * own_shares.size(0);
    const int64_t real = stream.batch.sequences * stream.batch.length;
    const int64_t counted = std::clamp<int64_t>(real - own, 0, own_shares.size(0));
    statistics->entropy += share_entropy_sum(own_shares.value(), counted);
    statistics->tokens += counted;
    const Tensor sum = Tensor::empty(x.device(), {tokens, h}, x.dtype());
    normalized_sum(x.value(), sum);
    const Tensor mine = Tensor::empty(x.device(), scattered_shape(sum, replica), x.dtype());
    reduce_scatter_into(sum, mine, replica, Purpose{"replica_cosine"}).wait();
    const double count = static_cast<double>(config_->parscale_n);
    for (int64_t t = 0; t < counted; ++t) {
      const double squared = sum_of_squares(mine.narrow(t, 1));
      statistics->cosine += (squared - count) / (count * (count - 1));
    }
  }
  return out;
}

}  // namespace pscale
