// Whether ranks that must hold the same bits do. What is not placed on an axis is computed on every rank of it; a flipped
// bit in a rank's memory, or in a message, would go on unseen and into checkpoints.
#pragma once

#include <string>
#include <vector>

#include "parallel/grads/parameter.h"

namespace pscale {

/// Something that all ranks over `axes` must hold alike, by its hash.
struct Replicated {
  std::string name;
  AxisSet axes;
  uint64_t hash = 0;
};

/// This rank's slices of all parameters, with the ranks that hold the same slice.
std::vector<Replicated> replicated_parameters(const ParameterSet& parameters);

/// A sentence for each thing that differs: its name, and the world ranks that hold something else than most, or the groups
/// of ranks where there is no majority. Empty where all agree; the same on every rank. All ranks name the same things in
/// the same order. Collective.
std::vector<std::string> drifted(const Mesh& mesh, const std::vector<Replicated>& held);

}  // namespace pscale
