// Loss and perplexity of a model on token files, under any layout.
#pragma once

#include <functional>

#include "launch/eval/windows.h"
#include "models/parscale/model.h"

namespace pscale {

struct Evaluation {
  double loss = 0;  ///< mean over the judged tokens, nats
  int64_t tokens = 0, documents = 0;
};

/// Batches of `micro_batch` windows go to the data ranks in turn. `progress` is called with the tokens judged
/// so far, as far as this rank can tell, and all. Collective.
Evaluation evaluate(const ParScaleModel& model, const Mesh& mesh, const Device& device, const TokenFile& file,
                    const std::vector<Window>& windows, int64_t micro_batch,
                    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace pscale
