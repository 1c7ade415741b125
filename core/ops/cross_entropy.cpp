#include "core/ops/cross_entropy.h"

namespace pscale {

namespace {

const CrossEntropyKernels& check(const Tensor& values, const Tensor& targets, int64_t rows) {
  PSCALE_CHECK(values.contiguous() && (values.dtype() == DType::float32 || values.dtype() == DType::float64) &&
                   targets.dtype() == DType::int32 && targets.shape() == Shape{rows},
               to_string(values.shape()), ", targets ", to_string(targets.shape()));
  return kernels<CrossEntropyKernels>(values.device());
}

}  // namespace

void softmax_statistics(const Tensor& logits, const Tensor& targets, int64_t first, int64_t valid,
                        const Tensor& statistics) {
  const int64_t rows = logits.rows(), columns = logits.columns();
  PSCALE_CHECK(statistics.shape() == (Shape{1, rows, 3}) && statistics.dtype() == logits.dtype() && valid <= columns,
               "statistics ", to_string(statistics.shape()), " of ", to_string(logits.shape()));
  check(logits, targets, rows)
      .statistics(logits.dtype(), logits.address(), targets.data<int32_t>(), statistics.address(), rows, columns, first,
                  valid);
}

void combine_statistics(const Tensor& statistics, const Tensor& lse, const Tensor& target_logit) {
  const int64_t parts = statistics.size(0), rows = statistics.size(1);
  PSCALE_CHECK(lse.shape() == Shape{rows} && target_logit.shape() == Shape{rows}, to_string(lse.shape()));
  kernels<CrossEntropyKernels>(lse.device())
      .combine(lse.dtype(), statistics.address(), lse.address(), target_logit.address(), parts, rows);
}

double cross_entropy_sum(const Tensor& lse, const Tensor& target_logit, const Tensor& targets) {
  const int64_t rows = lse.elements();
  return check(lse, targets, rows)
      .sum(lse.dtype(), lse.address(), target_logit.address(), targets.data<int32_t>(), rows);
}

void softmax_gradient(const Tensor& logits, const Tensor& lse, const Tensor& targets, int64_t first, int64_t valid,
                      double scale) {
  const int64_t rows = logits.rows();
  PSCALE_CHECK(lse.shape() == Shape{rows}, to_string(lse.shape()));
  check(logits, targets, rows)
      .gradient(logits.dtype(), logits.address(), lse.address(), targets.data<int32_t>(), scale, rows, logits.columns(),
                first, valid);
}

}  // namespace pscale
