#include "launch/train/run_folder.h"

#include <vector>

#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

std::optional<fs::path> open_run_folder(const fs::path& folder) {
  try {
    fs::create_directories(folder);
    std::vector<fs::path> earlier;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name == "metrics.jsonl" || name == "log.txt" || name == "config.toml" || name == "checkpoints" || name.starts_with("events.out.tfevents."))
        earlier.push_back(entry.path());
    }
    if (earlier.empty()) return std::nullopt;
    int number = 1;
    while (fs::exists(folder / cat("previous_", number))) ++number;
    const fs::path aside = folder / cat("previous_", number);
    fs::create_directory(aside);
    for (const fs::path& path : earlier) fs::rename(path, aside / path.filename());
    return aside;
  } catch (const fs::filesystem_error& e) {
    throw UserError(cat("run.dir = \"", folder.string(), "\" cannot be written to: ", e.code().message(),
                        "; choose another folder"));
  }
}

}  // namespace pscale
