// The trainer's validations.
#include <algorithm>

#include "launch/train/trainer.h"

namespace pscale {

namespace {
constexpr Purpose kValidation{"validation"};
constexpr int64_t kSequencesBetweenLooks = 8;  // all ranks meet for it
}

/// Whether it was taken to its end: a run that is to stop abandons it. `asked_to_stop` is collective.
bool Trainer::validate(const std::function<bool()>& asked_to_stop) {
  if (!data_.validation()) return true;
  const BlendedDataset& validation = *data_.validation();
  BatchPlan plan = plan_;
  plan.micro_batch = 1;
  plan.global_batch = plan.data_ranks;
  std::vector<double> sums(2 * validation.sources());  // loss and targets of each source
  for (size_t s = 0; s < validation.sources(); ++s) {
    const TokenDataset& source = validation.source(s);
    const int64_t samples =
        std::min<int64_t>(config_->data.validation_samples, static_cast<int64_t>(source.samples_per_epoch()));
    const auto sample = [&](uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents) {
      source.sample(i, tokens, documents);
    };
    for (int64_t first = 0; first < samples; first += plan.data_ranks) {
      const bool asks = first / plan.data_ranks % kSequencesBetweenLooks == 0;
      if (asks && asked_to_stop()) return false;
      if (first + plan.data_rank >= samples) continue;
      // The collectives inside are those of one data coordinate.
      for (const Batch& batch : step_batches(sample, plan, first / plan.data_ranks, *device_)) {
        const double loss = training_.evaluate(batch);
        if (mesh_->coordinates().replica == 0 && mesh_->coordinates().tensor == 0) {
          sums[2 * s] += loss;
          sums[2 * s + 1] += static_cast<double>(batch.counted);
        }
      }
    }
  }
  mesh_->group(AxisSet::all())
      .all_reduce(sums.data(), static_cast<int64_t>(sums.size()), DType::float64, Reduction::sum, kValidation)
      .wait();
  validation_loss_ = 0;
  validation_losses_.clear();
  double weights = 0;  // of the sources that have targets
  for (size_t s = 0; s < validation.sources(); ++s) {
    const double loss = sums[2 * s] / sums[2 * s + 1], weight = sums[2 * s + 1] > 0 ? validation.blend().weight(s) : 0;
    if (weight > 0) *validation_loss_ += weight * loss;
    weights += weight;
    if (validation.sources() > 1) validation_losses_.emplace_back(validation.name(s), loss);
  }
  *validation_loss_ /= weights;
  return true;
}

/// Takes the validation that the run abandoned when it stopped, for the row of that step.
void Trainer::make_up_for_validation() {
  if (!position_.validation_pending || !validate([this] { return agreed_signal() != StopReason::none; })) return;
  position_.validation_pending = false;
  if (log_ && validation_loss_) log_->add_validation(position_.step, *validation_loss_, validation_losses_);
  validation_loss_.reset();
  validation_losses_.clear();
}

}  // namespace pscale
