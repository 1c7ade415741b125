// What `pscale_sweep list` prints, and the job array that starts chosen runs again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/sweep/sweep_points.h"

namespace pscale {

/// The runs with their numbers and overrides, and the points left out with the reason. With `ranks` above 0
/// also each run's layout; throws UserError where one has none.
std::string list_text(const Sweep& sweep, const SweepRuns& runs, int ranks);

/// The sbatch command that starts runs again. `script`, or launch/sweep_NAME.sh of this source tree or
/// installation, or launch/sweep.sh. `overrides` are those of the command line, `flags` those of sbatch as
/// a shell would split them. Throws UserError where no script is found.
std::vector<std::string> submission(const Sweep& sweep, const std::vector<int64_t>& indices,
                                    const std::vector<std::string>& overrides, const std::string& script,
                                    const std::string& flags = "");

}  // namespace pscale
