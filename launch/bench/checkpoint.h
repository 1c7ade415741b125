// How fast checkpoints are written and read, held against plain files.
#pragma once

#include <filesystem>

#include "launch/train/training.h"

namespace pscale {

struct CheckpointTimes {
  double bytes = 0;                       ///< of all ranks
  double save = 0, load = 0;              ///< seconds: shards, whole files, manifest, names; back into the training state
  double plain_write = 0, plain_read = 0;  ///< the same bytes, one plain file a rank, with the same hash and fsync
};

/// One round of each, in `folder`, which must exist; what is written is removed. Files are taken out of the page cache
/// before they are read, as far as the system does so. Collective.
CheckpointTimes time_checkpoint(Training& training, const Mesh& mesh, const std::filesystem::path& folder);

}  // namespace pscale
