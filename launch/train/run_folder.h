// The folder of a run, before the run writes to it.
#pragma once

#include <filesystem>
#include <optional>

namespace pscale {

/// Makes the folder where it is missing. What an earlier run left in it (metrics, events, log, configuration, checkpoints) is moved to
/// a folder previous_1, previous_2, ... inside it, which is returned: two runs in one metrics.jsonl could not be told apart.
/// Throws UserError naming the folder where that fails. For a run that starts; one that goes on keeps its files.
std::optional<std::filesystem::path> open_run_folder(const std::filesystem::path& folder);

}  // namespace pscale
