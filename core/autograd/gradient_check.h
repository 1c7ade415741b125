// Test helper: gradients against central finite differences. Meant for float64 tensors.
#pragma once

#include <functional>
#include <string>

#include "core/autograd/tape.h"

namespace pscale {

struct GradientCheck {
  double step = 1e-5;
  double tolerance = 1e-6;     ///< relative to the largest entry of the numeric gradient, at least 1
  int64_t most_elements = 64;  ///< per input; larger inputs are probed at evenly spread elements
};

/// Compares the gradient of sum(r * f(inputs)), r fixed and pseudo-random, with finite differences in every input.
/// Returns "" where all agree, else which input and element differ and by how much.
std::string check_gradients(const std::function<Var(Tape&, const std::vector<Var>&)>& f, std::vector<Tensor> inputs,
                            const GradientCheck& options = {});

}  // namespace pscale
