#include "launch/train/sample_source.h"

namespace pscale {

uint64_t BatchPlan::first_sample(int64_t step, int64_t micro) const {
  return static_cast<uint64_t>(step * global_batch + (micro * data_ranks + data_rank) * micro_batch);
}

namespace {

StepSamples read_step(const SampleFunction& sample, const BatchPlan& plan, int64_t step) {
  const auto width = static_cast<size_t>(plan.length + 1);
  const size_t size = static_cast<size_t>(plan.accumulate() * plan.micro_batch) * width;
  StepSamples samples{std::vector<int32_t>(size), std::vector<int32_t>(plan.by_document ? size : 0)};
  const std::span tokens(samples.tokens), documents(samples.documents);
  size_t at = 0;
  for (int64_t micro = 0; micro < plan.accumulate(); ++micro)
    for (int64_t b = 0; b < plan.micro_batch; ++b, at += width)
      sample(plan.first_sample(step, micro) + static_cast<uint64_t>(b), tokens.subspan(at, width),
             plan.by_document ? documents.subspan(at, width) : std::span<int32_t>{});
  return samples;
}

std::vector<Batch> make_batches(const StepSamples& samples, const BatchPlan& plan, const Device& device) {
  const auto size = static_cast<size_t>(plan.micro_batch * (plan.length + 1));
  const std::span tokens(samples.tokens), documents(samples.documents);
  std::vector<Batch> batches;
  for (size_t at = 0; at < tokens.size(); at += size)
    batches.push_back(make_batch(device, tokens.subspan(at, size),
                                 plan.by_document ? documents.subspan(at, size) : std::span<const int32_t>{}, plan.micro_batch,
                                 plan.length, plan.multiple));
  return batches;
}

}  // namespace

std::vector<Batch> step_batches(const SampleFunction& sample, const BatchPlan& plan, int64_t step, const Device& device) {
  return make_batches(read_step(sample, plan, step), plan, device);
}

StepLoader::StepLoader(SampleFunction sample, const BatchPlan& plan, const Device& device, int64_t first, int64_t end)
    : sample_(std::move(sample)), plan_(plan), device_(&device), step_(first), end_(end) {
  read_ahead();
}

void StepLoader::read_ahead() {
  if (step_ < end_) ahead_ = std::async(std::launch::async, [this, step = step_] { return read_step(sample_, plan_, step); });
}

std::vector<Batch> StepLoader::next() {
  PSCALE_CHECK(step_ < end_, step_);
  const StepSamples samples = ahead_.get();
  ++step_;
  read_ahead();
  for (const auto* numbers : {&samples.tokens, &samples.documents})
    hash_.add(numbers->data(), numbers->size() * sizeof(int32_t));
  return make_batches(samples, plan_, *device_);
}

int64_t step_targets(std::span<const Batch> batches, const BatchPlan& plan, Communicator& data_axis) {
  if (!plan.by_document) return plan.global_batch * plan.length;
  double counted = 0;  // exact to 2^53
  for (const Batch& batch : batches) counted += static_cast<double>(batch.counted);
  data_axis.all_reduce(&counted, 1, DType::float64, Reduction::sum, Purpose{"targets"}).wait();
  return static_cast<int64_t>(counted);
}

}  // namespace pscale
