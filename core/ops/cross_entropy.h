// Softmax cross-entropy on rows of logits whose columns may be spread over ranks. Tensor-level pieces, not differentiable
// by themselves: models/layers/vocabulary.h composes them with collectives, a chunk of tokens at a time.
#pragma once

#include "core/tensor/dispatch.h"
#include "core/tensor/tensor.h"

namespace pscale {

struct CrossEntropyKernels {
  /// logits [rows, columns] of float32 or float64, of which the first `valid` columns exist (vocabulary entries
  /// first ... first + valid - 1); targets int32 [rows] -> statistics [rows, 3]: the largest logit m, the sum of e^(x - m),
  /// the target's logit or 0 where it is not among these columns. No valid column: -inf, 0, 0.
  Kernel<void(DType type, const void* logits, const int32_t* targets, void* statistics, int64_t rows, int64_t columns,
              int64_t first, int64_t valid)>
      statistics;
  /// statistics [parts, rows, 3] -> lse [rows], the log of the sum of e^x over all columns, and target_logit [rows].
  Kernel<void(DType type, const void* statistics, void* lse, void* target_logit, int64_t parts, int64_t rows)> combine;
  /// Sum of lse - target_logit over the rows with targets >= 0, in row order.
  Kernel<double(DType type, const void* lse, const void* target_logit, const int32_t* targets, int64_t rows)> sum;
  /// logits = (softmax - one-hot target) scale, in place; zero in rows whose target is negative and in columns from `valid`.
  Kernel<void(DType type, void* logits, const void* lse, const int32_t* targets, double scale, int64_t rows,
              int64_t columns, int64_t first, int64_t valid)>
      gradient;
};

// Shapes and meaning as above. statistics: [1, rows, 3] or [parts, rows, 3].
void softmax_statistics(const Tensor& logits, const Tensor& targets, int64_t first, int64_t valid, const Tensor& statistics);
void combine_statistics(const Tensor& statistics, const Tensor& lse, const Tensor& target_logit);
double cross_entropy_sum(const Tensor& lse, const Tensor& target_logit, const Tensor& targets);
void softmax_gradient(const Tensor& logits, const Tensor& lse, const Tensor& targets, int64_t first, int64_t valid,
                      double scale);

}  // namespace pscale
