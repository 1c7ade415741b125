// A pretrained base turned into a ParScale model: the base's tensors as they are, and what ParScale adds, new.
#pragma once

#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"
#include "parallel/grads/parameter.h"

namespace pscale {

/// `target`: the configuration to become, with the base's [model] section. New tensors get the values that a model made
/// from scratch would have: normal with initializer_range, zeros for biases, ones for norms, a function of (seed, name,
/// element).
class ConvertedSource final : public TensorSource {
 public:
  /// New tensors are given in `new_dtype`, float32 or bfloat16. Throws UserError with all problems where the base holds
  /// a tensor that the target has no place for, or lacks one that is not ParScale's to add.
  ConvertedSource(TensorSource& base, const ModelConfig& target, uint64_t seed, DType new_dtype);

  const std::string& path() const override { return base_->path(); }
  const std::map<std::string, Info>& tensors() const override { return tensors_; }
  void read_rows(const std::string& name, int64_t first, int64_t count, void* out) override;

  /// Names of the new tensors.
  const std::map<std::string, ParameterSpec>& added() const { return added_; }

 private:
  TensorSource* base_;
  uint64_t seed_;
  std::map<std::string, Info> tensors_;
  std::map<std::string, ParameterSpec> added_;  ///< with their shape in files
};

}  // namespace pscale
