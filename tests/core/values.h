// Numbers for operator tests: smooth, different everywhere, never special; and how far a kernel may be off.
#pragma once

#include <cmath>
#include <vector>

#include "core/tensor/tensor.h"

namespace pscale::testing {

inline const std::vector<DType> kFloats = {DType::float32, DType::bfloat16, DType::float64};

inline std::vector<double> waves(int64_t count, double step, double size = 1) {
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = size * (std::sin(step * static_cast<double>(i) + 0.5) + 0.1);
  return values;
}

inline Tensor wavy(const Device& device, Shape shape, DType dtype, double step, double size = 1) {
  return Tensor::of(device, shape, dtype, waves(elements_of(shape), step, size));
}

/// For results of order one: rounding of the output, and of sums of a few hundred terms.
inline double tolerance(DType dtype) {
  return dtype == DType::float64 ? 1e-12 : dtype == DType::float32 ? 1e-5 : 2e-2;
}

inline size_t at(int64_t i) { return static_cast<size_t>(i); }

}  // namespace pscale::testing
