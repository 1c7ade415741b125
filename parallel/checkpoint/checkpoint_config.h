// Section [checkpoint]: when a run saves and what it keeps.
#pragma once

#include <cstdint>

#include "core/base/config.h"

namespace pscale {

struct CheckpointConfig {
  int64_t save_interval = 1000;  ///< in steps; 0: by time alone. The last step is always saved
  double save_minutes = 30;      ///< since the last save began; 0: by steps alone
  int64_t keep_last = 3;         ///< newest checkpoints that stay; 0: all
  int64_t keep_every = 0;        ///< checkpoints of steps that are a multiple stay, too; 0: none
  bool async = true;             ///< training goes on while a copy of the state is written

  void describe(ConfigSection& section);
};

}  // namespace pscale
