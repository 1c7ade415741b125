#include "parallel/grads/sharded_adamw.h"

#include <cmath>

#include "core/base/hash.h"
#include "core/tensor/accumulate.h"
#include "parallel/ops/collectives.h"

namespace pscale {

namespace {
constexpr Purpose kNorm{"gradient_norm"};
constexpr Purpose kWeights{"weights"};
constexpr Purpose kHash{"state_hash"};
}  // namespace

ShardedAdamW::ShardedAdamW(GradientBuckets& buckets, const ParameterSet& parameters, const OptimizerConfig& config)
    : buckets_(&buckets),
      mesh_(&parameters.mesh()),
      device_(&parameters.device()),
      dtype_(parameters.dtype()),
      config_(config) {
  const DType sums = dtype_ == DType::float64 ? DType::float64 : DType::float32;
  for (OwnedPiece* piece : buckets.pieces()) {
    const Shape shape = piece->of(piece->parameter->local()).shape();
    State state;
    state.first = Tensor::zeros(*device_, shape, sums, MemoryKind::optimizer);
    state.second = Tensor::zeros(*device_, shape, sums, MemoryKind::optimizer);
    if (dtype_ == DType::bfloat16) {
      state.master = Tensor::empty(*device_, shape, sums, MemoryKind::optimizer);
      convert(state.master, piece->of(piece->parameter->local()));
    }
    states_.emplace_back(piece, std::move(state));
  }
}

void ShardedAdamW::assign(Parameter& parameter, std::span<const float> values) {
  const Tensor valid = parameter.valid();
  PSCALE_CHECK(static_cast<int64_t>(values.size()) == valid.elements(), parameter.spec().name, ": ", values.size(),
               " values for ", to_string(valid.shape()));
  const Tensor whole = Tensor::empty(*device_, valid.shape(), DType::float32);
  std::copy(values.begin(), values.end(), whole.data<float>());
  convert(valid, whole);
  for (auto& [piece, state] : states_)
    if (piece->parameter == &parameter && state.master.defined()) convert(state.master, piece->of(whole));
}

const ShardedAdamW::State* ShardedAdamW::state_of(const Parameter& parameter) const {
  for (const auto& [piece, state] : states_)
    if (piece->parameter == &parameter) return &state;
  return nullptr;
}

double ShardedAdamW::gradient_norm() {
  double squares = 0;
  for (auto& [piece, state] : states_) squares += sum_of_squares(piece->gradient);
  mesh_->group(AxisSet::all()).all_reduce(&squares, 1, DType::float64, Reduction::sum, kNorm).wait();
  return std::sqrt(squares);
}

void ShardedAdamW::step(double learning_rate, double gradient_scale) {
  ++updates_;
  AdamWStep update;
  update.rate = learning_rate;
  update.beta1 = config_.beta1;
  update.beta2 = config_.beta2;
  update.eps = config_.eps;
  update.correction1 = 1 - std::pow(config_.beta1, static_cast<double>(updates_));
  update.correction2 = 1 - std::pow(config_.beta2, static_cast<double>(updates_));
  update.gradient_scale = gradient_scale;
  for (auto& [piece, state] : states_) {
    update.weight_decay = piece->parameter->spec().decay ? config_.weight_decay : 0;
    const Tensor weight = piece->of(piece->parameter->local());
    if (state.master.defined()) {
      adamw_update(state.master, state.first, state.second, piece->gradient, update, weight);
    } else {
      adamw_update(weight, state.first, state.second, piece->gradient, update);
    }
  }
  buckets_->clear();
  for (const auto& bucket : buckets_->buckets())
    if (bucket->group->size() > 1) gather(*bucket);
}

void ShardedAdamW::gather(GradientBuckets::Bucket& bucket) {
  const int owners = bucket.group->size(), me = bucket.group->rank();
  const Tensor parts = Tensor::empty(*device_, {owners, bucket.part}, dtype_, MemoryKind::communication);
  const auto place = [&](size_t i, int owner, const Tensor& piece) {
    return parts.narrow(owner, 1).reshape({-1}).columns(bucket.offset[i], piece.elements()).reshape(piece.shape());
  };
  for (size_t i = 0; i < bucket.parameters.size(); ++i) {
    const Tensor piece = bucket.piece(i, bucket.parameters[i]->local(), me);
    if (piece.elements() > 0) convert(place(i, me, piece), piece);
  }
  bucket.group
      ->all_gather(parts.narrow(me, 1).address(), parts.address(), bucket.part, dtype_, kWeights)
      .wait();
  for (size_t i = 0; i < bucket.parameters.size(); ++i)
    for (int owner = 0; owner < owners; ++owner) {
      if (owner == me) continue;
      const Tensor piece = bucket.piece(i, bucket.parameters[i]->local(), owner);
      if (piece.elements() > 0) convert(piece, place(i, owner, piece));
    }
}

uint64_t ShardedAdamW::state_hash() {
  Hash hash;
  const auto add = [&](const Tensor& t) {
    Tensor dense = t;
    if (!t.contiguous()) {
      dense = Tensor::empty(*device_, t.shape(), t.dtype());
      dense.copy_from(t);
    }
    hash.add(dense.address(), static_cast<size_t>(dense.bytes()));
  };
  for (auto& [piece, state] : states_) {
    add(piece->of(piece->parameter->local()));
    add(state.first);
    add(state.second);
    if (state.master.defined()) add(state.master);
  }
  const uint64_t own = hash.value();
  Communicator& world = mesh_->group(AxisSet::all());
  std::vector<uint64_t> all(static_cast<size_t>(world.size()));
  // Two int32 of each hash: collectives move bits, whatever the type.
  world.all_gather(&own, all.data(), 2, DType::int32, kHash).wait();
  return hash_of(all.data(), all.size() * sizeof(uint64_t));
}

}  // namespace pscale
