#include "launch/convert/open_model.h"

#include <filesystem>

#include "core/base/errors.h"
#include "models/hf/hf_folder.h"
#include "models/hf/hub_cache.h"
#include "models/hf/tensor_list.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

OpenModel open_hf(const std::string& path) {
  auto folder = std::make_unique<HfFolder>(path);
  check_tensors(*folder, folder->config());
  const ModelConfig config = folder->config();
  return {std::move(folder), config, path};
}

}  // namespace

OpenModel open_model(const std::string& path) {
  if (!fs::exists(path)) {
    if (looks_like_hub_id(path)) return open_hf(find_in_hub_cache(path));
    throw UserError(cat(path, ": does not exist"));
  }
  if (!fs::is_directory(path)) throw UserError(cat(path, ": is a file; name the model's folder"));
  if (is_hf_folder(path)) return open_hf(path);
  throw UserError(cat(path, ": is no model: a Hugging Face folder has a config.json"));
}

}  // namespace pscale
