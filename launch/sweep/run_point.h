// Starting runs of a sweep.
#pragma once

#include <string>
#include <vector>

#include "launch/sweep/launcher.h"
#include "launch/sweep/run_status.h"
#include "launch/sweep/sweep_points.h"

namespace pscale {

/// The command of pscale_train for a run, without its launcher.
std::vector<std::string> train_command(const Sweep& sweep, const SweepRun& run);

/// Runs it to its end in its folder, going on from the newest checkpoint there, and leaves a record of how it
/// ended. The exit code is that of the launcher; 0 where the run is done already; 1 where it would be run
/// again but has saved no step in several lives. Throws UserError where it is running elsewhere, was done
/// with other values, or this job began with another run.
ChildExit run_to_end(const Sweep& sweep, const SweepRun& run, const Launch& launch);

/// The folder of the programs.
std::filesystem::path program_folder();

}  // namespace pscale
