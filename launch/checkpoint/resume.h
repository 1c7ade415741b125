// Going on with a run from a checkpoint.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "launch/checkpoint/checkpointer.h"
#include "launch/run_config.h"

namespace pscale {

/// --resume auto | none | PATH
struct ResumeRequest {
  enum class Kind : uint8_t { automatic, none, path } kind = Kind::automatic;
  std::filesystem::path path;  ///< a checkpoint, or a run's folder: its newest
};
ResumeRequest resume_request(const std::string& text);

struct Resumed {
  RunPosition position;
  std::filesystem::path from;
  std::vector<std::string> notes;  ///< what the log should say: checkpoints that were passed over, and why
};

/// What a configuration, written as TOML, says of the keys that may not change from one start of a run to the next: "section.key" ->
/// value as text. Paths, layout, micro-batch, logging, intervals and max_steps may. `source` names it in errors.
std::map<std::string, std::string> lasting_values(const std::string& toml, const std::string& source);

/// Keys that change the mathematics and differ between a saved configuration and that of this run, as sentences.
std::vector<std::string> differences(const std::string& saved_toml, const Config& config);

/// Loads weights, moments and Adam's count. automatic: the newest sound checkpoint of `folder`; nothing where there is
/// none at all. Throws UserError on all ranks where the checkpoint that was asked for is missing or not sound, where all
/// are not, and where it is of another run: `config` or `data` (fingerprints of the token files) differ. Where this rank is
/// asked to stop (`stop`) it reads no further: the caller must agree with all ranks whether to use what was read. Collective.
std::optional<Resumed> resume(const ResumeRequest& request, const CheckpointFolder& folder, const Config& config,
                              const std::map<std::string, std::string>& data, ParameterSet& parameters,
                              ShardedAdamW& optimizer, const StopRequest& stop);

}  // namespace pscale
