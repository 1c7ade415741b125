// Whole parameters and gradients on every rank, for judging and for small models only.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launch/train/training.h"

namespace pscale {

enum class Which : uint8_t { weight, gradient };

/// Every trainable parameter, by name, in row-major order of its whole shape. Each rank gives the elements it owns.
/// Gradients: between accumulate_gradients() and clear(). Collective.
std::map<std::string, std::vector<float>> gather_whole(Training& training, const Mesh& mesh, Which which);

/// Sets every parameter from whole tensors given by name. `values` throws where one is missing.
void assign_whole(Training& training, const std::function<std::vector<float>(const ParameterSpec&)>& values);

}  // namespace pscale
