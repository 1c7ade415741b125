#include "parallel/checkpoint/checkpoint_config.h"

namespace pscale {

void CheckpointConfig::describe(ConfigSection& section) {
  section.add("save_interval", save_interval, "Steps between two checkpoints; 0: by time alone. The last step is always saved",
              at_least(0));
  section.add("save_minutes", save_minutes, "Minutes between two checkpoints, whichever comes first; 0: by steps alone",
              at_least(0));
  section.add("keep_last", keep_last, "Newest checkpoints that are kept; 0: all", at_least(0));
  section.add("keep_every", keep_every, "Checkpoints of steps that are a multiple of this are kept, too; 0: none",
              at_least(0));
  section.add("async", async, "Whether training goes on while a copy of the state is written");
}

}  // namespace pscale
