// Sums and conversions of whole tensors, used wherever gradients gather.
#pragma once

#include "core/tensor/dispatch.h"
#include "core/tensor/tensor.h"

namespace pscale {

struct AccumulateKernels {
  /// into[i] += part[i], rows by rows. Sums are kept in into's type (float32 for bfloat16, rounded once).
  Kernel<void(DType into_type, void* into, int64_t into_stride, DType part_type, const void* part,
                     int64_t part_stride, int64_t rows, int64_t columns)> accumulate;
  /// into[i] = part[i]
  Kernel<void(DType into_type, void* into, int64_t into_stride, DType part_type, const void* part,
                  int64_t part_stride, int64_t rows, int64_t columns)> convert;
};

/// into += part. Same shape; any floating dtypes and row strides.
void accumulate(const Tensor& into, const Tensor& part);
/// into = part, rounding where into is narrower. Same shape; any floating dtypes and row strides.
void convert(const Tensor& into, const Tensor& part);

}  // namespace pscale
