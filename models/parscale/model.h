// The ParScale model: a Qwen2/Llama decoder run as P replicas side by side, blended at the end.
//
// Written forward only, in the order of the paper (Chen et al. 2025) and of parscale-xattn. Shapes between layers are
// those of stream.h.
#pragma once

#include <memory>
#include <vector>

#include "models/layers/vocabulary.h"
#include "models/parscale/aggregation.h"
#include "models/parscale/batch.h"
#include "models/parscale/model_config.h"
#include "parallel/grads/parameter.h"

namespace pscale {

/// Which part of a layer is computed again in backward instead of being kept.
enum class Recompute : uint8_t { none, attention, block };

class ParScaleModel {
 public:
  /// Declares every parameter. `config` has been validated against the layout.
  ParScaleModel(const ModelConfig& config, ParameterSet& parameters, Recompute recompute);
  ~ParScaleModel();

  /// This rank's part of the loss: the sum over its tokens times `scale`, which is 1 / (counted targets of the step).
  VocabularyLoss loss(Tape& tape, const Batch& batch, double scale, BlendStatistics* statistics = nullptr) const;

  /// Logits of every real token, [sequences * length, V], on every rank of the data coordinate. For tests and small
  /// models: it holds them all.
  Tensor logits(const Batch& batch) const;

  /// What a batch must be padded to a multiple of.
  int64_t token_multiple() const;

 private:
  class Layer;
  Stream make_stream(const Batch& batch) const;
  Var hidden(Tape& tape, const Batch& batch, BlendStatistics* statistics) const;
  Var head() const;

  ModelConfig config_;
  const Mesh* mesh_;
  const Device* device_;
  DType dtype_;
  Recompute recompute_;
  Parameter *embedding_ = nullptr, *norm_ = nullptr, *head_ = nullptr;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::unique_ptr<Aggregation> aggregation_;
};

}  // namespace pscale
