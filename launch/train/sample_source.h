// Which samples a data rank trains on: sample i of the run belongs to a step, a micro-batch and a data rank by formula,
// so every layout sees the same samples in the same steps.
//
//   i = step * global_batch + (micro * data_ranks + data_rank) * micro_batch + b        (all counted from 0)
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <span>
#include <vector>

#include "core/base/hash.h"
#include "models/parscale/batch.h"
#include "parallel/comm/communicator.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

struct BatchPlan {
  int64_t global_batch = 1;   ///< sequences a step
  int64_t micro_batch = 1;    ///< sequences of one data rank at a time
  int64_t data_ranks = 1, data_rank = 0;
  int64_t length = 1;         ///< tokens of a sequence
  int64_t multiple = 1;       ///< flattened tokens are padded to a multiple of this
  bool by_document = false;   ///< attention ends at document borders

  int64_t accumulate() const { return global_batch / (micro_batch * data_ranks); }
  /// The first sample of micro-batch `micro` of `step` (from 0) on this data rank.
  uint64_t first_sample(int64_t step, int64_t micro) const;
};

/// Gives sample i: length + 1 tokens and, where the second span is not empty, the number of each one's document.
using SampleFunction = std::function<void(uint64_t i, std::span<int32_t> tokens, std::span<int32_t> documents)>;

/// This rank's micro-batches of `step` (from 0).
std::vector<Batch> step_batches(const SampleFunction& sample, const BatchPlan& plan, int64_t step, const Device& device);

/// Samples of this rank in one step: [micro-batch][sequence][length + 1].
struct StepSamples {
  std::vector<int32_t> tokens, documents;  ///< no documents where attention runs through
};

/// Micro-batches of one step after another. A thread reads the next step's samples while the caller trains on this one's, so
/// that a slow disk, or the index of a new epoch, is not waited for.
class StepLoader {
 public:
  /// Steps `first` to `end` - 1, from 0. `sample` is called on another thread; what it uses must outlive this.
  StepLoader(SampleFunction sample, const BatchPlan& plan, const Device& device, int64_t first, int64_t end);
  /// Of the next step. Throws what `sample` threw for it.
  std::vector<Batch> next();
  /// A hash of all samples that next() has given.
  uint64_t hash() const { return hash_.value(); }

 private:
  void read_ahead();

  SampleFunction sample_;
  BatchPlan plan_;
  const Device* device_;
  int64_t step_, end_;
  Hash hash_;
  std::future<StepSamples> ahead_;  // waits for its thread when it goes
};

/// Counted targets of a step over all data ranks, from this one's micro-batches. Where attention ends at document borders
/// the ranks of the data axis add up theirs; without, it is a formula. Collective over `data_axis`.
int64_t step_targets(std::span<const Batch> batches, const BatchPlan& plan, Communicator& data_axis);

}  // namespace pscale
