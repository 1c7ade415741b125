// What of a training run is saved, as tensors: the weights (in mixed precision their float32 masters) and Adam's two
// moments. Each element is written by the one rank that owns it, and read by every rank that holds it.
#pragma once

#include <string_view>
#include <vector>

#include "parallel/grads/sharded_adamw.h"

namespace pscale {

enum class StateKind : uint8_t { weight, exp_avg, exp_avg_sq };
inline constexpr StateKind kStateKinds[] = {StateKind::weight, StateKind::exp_avg, StateKind::exp_avg_sq};

/// The group that holds them in a checkpoint's files: weights, exp_avg, exp_avg_sq (PyTorch's names of the moments).
std::string_view name_of(StateKind kind);

/// A rectangular part of one tensor of the state, in this rank's memory.
struct StateTensor {
  StateKind kind = StateKind::weight;
  const ParameterSpec* spec = nullptr;
  Hyperslab slab;  ///< of the whole tensor
  Tensor tensor;   ///< the slab's elements in row-major order, whatever its shape
};

/// What this rank writes: the pieces it owns, those of frozen weights included. Views, possibly strided.
std::vector<StateTensor> owned_state(const ParameterSet& parameters, const ShardedAdamW& optimizer);

/// This rank's slices of all weights. Views, all dense.
std::vector<StateTensor> held_weights(const ParameterSet& parameters);

/// What this rank reads: its slices of all weights, the masters and the moments it owns. Views, all dense.
std::vector<StateTensor> held_state(const ParameterSet& parameters, const ShardedAdamW& optimizer);

}  // namespace pscale
