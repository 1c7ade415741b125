#include "models/hf/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

fs::path cache_folder() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (const auto folder = variable("HF_HUB_CACHE"); !folder.empty()) return folder;
  if (const auto folder = variable("HF_HOME"); !folder.empty()) return fs::path(folder) / "hub";
  if (const auto folder = variable("XDG_CACHE_HOME"); !folder.empty()) return fs::path(folder) / "huggingface/hub";
  return fs::path(variable("HOME")) / ".cache/huggingface/hub";
}

}  // namespace

bool looks_like_hub_id(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash == std::string::npos || path.find('/', slash + 1) != std::string::npos) return false;
  const auto is_name = [](std::string_view part) {
    return !part.empty() && part.front() != '.' && std::all_of(part.begin(), part.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_' || c == '.';
    });
  };
  return is_name(std::string_view(path).substr(0, slash)) && is_name(std::string_view(path).substr(slash + 1));
}

std::string find_in_hub_cache(const std::string& id) {
  std::string name = "models--" + id;
  name.replace(name.find('/'), 1, "--");
  const fs::path model = cache_folder() / name, ref = model / "refs/main";
  if (fs::is_regular_file(ref)) {
    std::string revision = read_file(ref);
    revision.erase(std::remove_if(revision.begin(), revision.end(), [](unsigned char c) { return std::isspace(c); }),
                   revision.end());
    const fs::path folder = model / "snapshots" / revision;
    if (!revision.empty() && fs::is_directory(folder)) return folder.string();
  }
  throw UserError(cat(id, ": is no folder here, and the Hugging Face cache has no model of that name (", model.string(),
                      "); download it with: hf download ", id));
}

}  // namespace pscale
