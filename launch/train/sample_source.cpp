#include "launch/train/sample_source.h"

namespace pscale {

uint64_t BatchPlan::first_sample(int64_t step, int64_t micro) const {
  return static_cast<uint64_t>(step * global_batch + (micro * data_ranks + data_rank) * micro_batch);
}

std::vector<Batch> step_batches(const TokenDataset& dataset, const BatchPlan& plan, int64_t step,
                                const Device& device) {
  const int64_t width = plan.length + 1;
  std::vector<int32_t> tokens(static_cast<size_t>(plan.micro_batch * width));
  std::vector<Batch> batches;
  for (int64_t micro = 0; micro < plan.accumulate(); ++micro) {
    const uint64_t first = plan.first_sample(step, micro);
    for (int64_t b = 0; b < plan.micro_batch; ++b)
      dataset.sample(first + static_cast<uint64_t>(b),
                     std::span(tokens).subspan(static_cast<size_t>(b * width), static_cast<size_t>(width)));
    batches.push_back(make_batch(device, tokens, {}, plan.micro_batch, plan.length, plan.multiple));
  }
  return batches;
}

}  // namespace pscale
