// Which samples a data rank trains on: sample i of the run belongs to a step, a micro-batch and a data rank by formula,
// so every layout sees the same samples in the same steps.
//
//   i = step * global_batch + (micro * data_ranks + data_rank) * micro_batch + b        (all counted from 0)
#pragma once

#include <cstdint>
#include <vector>

#include "data/sampler/dataset.h"
#include "models/parscale/batch.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

struct BatchPlan {
  int64_t global_batch = 1;   ///< sequences a step
  int64_t micro_batch = 1;    ///< sequences of one data rank at a time
  int64_t data_ranks = 1, data_rank = 0;
  int64_t length = 1;         ///< tokens of a sequence
  int64_t multiple = 1;       ///< flattened tokens are padded to a multiple of this

  int64_t accumulate() const { return global_batch / (micro_batch * data_ranks); }
  /// The first sample of micro-batch `micro` of `step` (from 0) on this data rank.
  uint64_t first_sample(int64_t step, int64_t micro) const;
};

/// This rank's micro-batches of `step` (from 0).
std::vector<Batch> step_batches(const TokenDataset& dataset, const BatchPlan& plan, int64_t step, const Device& device);

}  // namespace pscale
