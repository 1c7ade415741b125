// The model and all that trains it on this rank: what the trainer, the benchmark and the parity program share.
#pragma once

#include <limits>
#include <span>

#include "models/parscale/model.h"
#include "parallel/grads/sharded_adamw.h"

namespace pscale {

struct TrainingOptions {
  DType dtype = DType::float32;
  Recompute recompute = Recompute::none;
  bool freeze_pretrained = false;
  int64_t bucket_bytes = int64_t{25} << 20;
  OptimizerConfig optimizer;
};

struct StepResult {
  double loss = 0;           ///< mean over the counted targets of the step, on every rank
  double gradient_norm = 0;  ///< before clipping
  bool skipped = false;      ///< loss or gradient was not finite, or a spike: weights, moments and Adam's count are unchanged
  bool spike = false;        ///< the loss was finite and above the limit
  BlendStatistics blend;     ///< summed over all ranks, where asked for
};

class Training {
 public:
  /// Declares the model and takes memory for weights and optimizer state. All three arguments before the options must
  /// outlive this. Weights are zero until `initialize` or `assign`.
  Training(const Device& device, const Mesh& mesh, const ModelConfig& model, const TrainingOptions& options);

  /// Sets every parameter to its initial value; the same model for any layout.
  void initialize(uint64_t seed);

  /// One update from this data rank's micro-batches. `targets`: counted targets of the whole step, over all data ranks.
  /// A loss above `loss_limit` is a spike. Collective over all ranks.
  StepResult step(std::span<const Batch> micro_batches, int64_t targets, double learning_rate, bool statistics = false,
                  double loss_limit = std::numeric_limits<double>::infinity());

  /// The gradients of the step's loss, unclipped, into `buckets()`; step() without the update. Ends with buckets.finish().
  double accumulate_gradients(std::span<const Batch> micro_batches, int64_t targets, BlendStatistics* statistics);

  /// Sum of the losses of this data rank's batch, in nats, over its replica and tensor ranks. Collective.
  double evaluate(const Batch& batch) const;

  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  const ParScaleModel& model() const { return model_; }
  GradientBuckets& buckets() { return buckets_; }
  ShardedAdamW& optimizer() { return optimizer_; }

 private:
  const Mesh* mesh_;
  double grad_clip_;
  ParameterSet parameters_;
  ParScaleModel model_;
  GradientBuckets buckets_;
  ShardedAdamW optimizer_;
};

}  // namespace pscale
