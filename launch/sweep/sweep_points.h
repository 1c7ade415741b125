// The runs of a sweep: every variant with every combination of the grid's values, less the points that a
// [[drop]] rule names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launch/run_config.h"
#include "launch/sweep/sweep_file.h"

namespace pscale {

struct SweepRun {
  int64_t index = 0;                                       ///< among those that run, from 0
  std::string name;                                        ///< of its folder in sweep.dir
  std::string variant;                                     ///< empty where there are none
  std::vector<std::pair<std::string, ConfigValue>> swept;  ///< the grid's keys in the order of the file
  std::vector<std::string> overrides;  ///< section.key=value for pscale_train, run.dir last
  Config config;                       ///< resolved

  std::filesystem::path folder() const { return config.run.dir; }
};

struct DroppedPoint {
  std::string name;
  std::string because;
};

struct SweepRuns {
  std::vector<SweepRun> runs;
  std::vector<DroppedPoint> dropped;
};

/// Expands a sweep and checks each of its runs as pscale_train would, less what only the ranks decide. A
/// point that is invalid and not dropped by a rule is an error. Throws UserError with all problems, each with
/// file, line and key.
SweepRuns expand(const Sweep& sweep);

}  // namespace pscale
