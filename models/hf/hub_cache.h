// Models that the Hugging Face tools have downloaded to this machine.
#pragma once

#include <string>

namespace pscale {

/// Whether a path that does not exist may be a hub id: "org/name".
bool looks_like_hub_id(const std::string& path);

/// The folder of the main revision in the local cache: $HF_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
/// ~/.cache/huggingface/hub. Nothing is downloaded: where it is not there, throws UserError with the command that
/// would.
std::string find_in_hub_cache(const std::string& id);

}  // namespace pscale
