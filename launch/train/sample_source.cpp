#include "launch/train/sample_source.h"

namespace pscale {

uint64_t BatchPlan::first_sample(int64_t step, int64_t micro) const {
  return static_cast<uint64_t>(step * global_batch + (micro * data_ranks + data_rank) * micro_batch);
}

std::vector<Batch> step_batches(const SampleFunction& sample, const BatchPlan& plan, int64_t step,
                                const Device& device) {
  const int64_t width = plan.length + 1;
  const auto size = static_cast<size_t>(plan.micro_batch * width);
  std::vector<int32_t> tokens(size), documents(plan.by_document ? size : 0);
  std::vector<Batch> batches;
  for (int64_t micro = 0; micro < plan.accumulate(); ++micro) {
    const uint64_t first = plan.first_sample(step, micro);
    for (int64_t b = 0; b < plan.micro_batch; ++b) {
      const auto at = static_cast<size_t>(b * width), count = static_cast<size_t>(width);
      sample(first + static_cast<uint64_t>(b), std::span(tokens).subspan(at, count),
             plan.by_document ? std::span(documents).subspan(at, count) : std::span<int32_t>{});
    }
    batches.push_back(make_batch(device, tokens, documents, plan.micro_batch, plan.length, plan.multiple));
  }
  return batches;
}

int64_t step_targets(std::span<const Batch> batches, const BatchPlan& plan, Communicator& data_axis) {
  if (!plan.by_document) return plan.global_batch * plan.length;
  double counted = 0;  // exact to 2^53
  for (const Batch& batch : batches) counted += static_cast<double>(batch.counted);
  data_axis.all_reduce(&counted, 1, DType::float64, Reduction::sum, Purpose{"targets"}).wait();
  return static_cast<int64_t>(counted);
}

}  // namespace pscale
