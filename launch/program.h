// The frame of every program: turns exceptions into `error:` lines and exit codes. Only main calls it.
#pragma once

#include <functional>

namespace pscale {

constexpr int kExitDone = 0, kExitFailed = 1, kExitUserError = 2, kExitRunAgain = 75;
constexpr const char* kExitCodeFile = "PSCALE_EXIT_CODE_FILE";

/// Runs `body` and returns the exit code: what `body` returns; 2 after a UserError, with one `error:` line on
/// standard error per problem; 1 after anything else.
///
/// Under a launcher rank 0 prints. The other ranks wait for the launcher to end them, because the same error
/// mostly stops all ranks; one that is still there after a few seconds had an error of its own and prints it
/// with its rank.
///
/// Rank 0 also writes the code into the file that PSCALE_EXIT_CODE_FILE names, if any: for a launcher whose
/// own code says something else (mpirun's, where Slurm ended its daemons).
int run_program(const std::function<int()>& body);

}  // namespace pscale
