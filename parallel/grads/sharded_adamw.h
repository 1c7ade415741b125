// AdamW (Loshchilov & Hutter 2019) with its state sharded over all ranks that hold the same slice of a parameter
// (ZeRO-1, Rajbhandari et al. 2020): each rank updates the pieces it owns, then the pieces are gathered.
//
// In float32 the weights themselves are the masters; in bfloat16 the owner keeps a float32 master of its piece.
#pragma once

#include "core/ops/adamw.h"
#include "parallel/grads/buckets.h"
#include "parallel/grads/optimizer_config.h"

namespace pscale {

class ShardedAdamW {
 public:
  /// Takes memory for the moments (zero) and masters of the owned pieces. `buckets` must outlive this.
  ShardedAdamW(GradientBuckets& buckets, const ParameterSet& parameters, const OptimizerConfig& config);

  /// Sets a parameter to `values`, the valid part of this rank's slice in row-major order, masters included.
  void assign(Parameter& parameter, std::span<const float> values);

  /// The norm of the whole gradient, every element counted once; not finite where any element is not. Collective.
  double gradient_norm();

  /// One update with the reduced gradients times `gradient_scale`; then every rank has the new weights. Collective.
  void step(double learning_rate, double gradient_scale);

  /// Updates made so far: the t of Adam's bias correction.
  int64_t updates() const { return updates_; }
  /// When a run goes on.
  void set_updates(int64_t updates) { updates_ = updates; }

  struct State {
    Tensor first, second;  ///< [rows, columns] of the owned piece: Adam's moments
    Tensor master;         ///< float32 in bfloat16 training; else undefined: the weight itself
  };
  /// Of the piece of a parameter that this rank owns; null where it owns nothing or the parameter is frozen.
  const State* state_of(const Parameter& parameter) const;

  /// A hash of all weights and moments, the same on every rank and for every run with the same bits. Collective.
  uint64_t state_hash();

 private:
  void gather(GradientBuckets::Bucket& bucket);

  GradientBuckets* buckets_;
  const Mesh* mesh_;
  const Device* device_;
  DType dtype_;
  OptimizerConfig config_;
  std::vector<std::pair<OwnedPiece*, State>> states_;
  int64_t updates_ = 0;
};

}  // namespace pscale
