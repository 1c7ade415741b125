#include "launch/convert/open_model.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "launch/checkpoint/checkpoint_folder.h"
#include "models/hf/export_tokenizer.h"
#include "models/hf/hf_folder.h"
#include "models/hf/hub_cache.h"
#include "models/hf/tensor_list.h"
#include "parallel/checkpoint/checkpoint.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

ModelConfig config_of(const Manifest& manifest, const fs::path& folder) {
  return model_config_from_json(nlohmann::ordered_json::parse(manifest.model), (folder / kManifestName).string());
}

OpenModel open_hf(const std::string& path) {
  auto folder = std::make_unique<HfFolder>(path);
  check_tensors(*folder, folder->config());
  const ModelConfig config = folder->config();
  return {std::move(folder), config, has_tokenizer(path) ? path : "", path};
}

OpenModel open_checkpoint(const fs::path& path, bool check) {
  auto source = std::make_unique<CheckpointSource>(path, check);
  const ModelConfig config = config_of(source->manifest(), path);
  check_tensors(*source, config);
  const std::string folder = (path / kTokenizerFolder).string();
  const std::string tokenizer = source->manifest().tokenizer == "bytes" ? "bytes" : has_tokenizer(folder) ? folder : "";
  return {std::move(source), config, tokenizer, ""};
}

}  // namespace

OpenModel open_model(const std::string& path, bool check) {
  if (!fs::exists(path)) {
    if (looks_like_hub_id(path)) return open_hf(find_in_hub_cache(path));
    throw UserError(cat(path, ": does not exist"));
  }
  if (!fs::is_directory(path)) throw UserError(cat(path, ": is a file; name the model's folder"));
  if (const auto checkpoint = find_checkpoint(path)) return open_checkpoint(*checkpoint, check);
  if (is_hf_folder(path)) return open_hf(path);
  throw UserError(cat(path, ": is no model: a Hugging Face folder has a config.json, a checkpoint a manifest.json"));
}

std::optional<ModelConfig> model_config_of(const std::string& path) {
  if (!fs::exists(path)) {
    if (!looks_like_hub_id(path)) return std::nullopt;
    try {
      return read_model_config((fs::path(find_in_hub_cache(path)) / "config.json").string());
    } catch (const UserError&) {
      return std::nullopt;
    }
  }
  if (const auto checkpoint = find_checkpoint(path)) return config_of(read_manifest(*checkpoint), *checkpoint);
  if (is_hf_folder(path)) return read_model_config((fs::path(path) / "config.json").string());
  throw UserError(cat(path, ": is no model: a Hugging Face folder has a config.json, a checkpoint a manifest.json"));
}

}  // namespace pscale
