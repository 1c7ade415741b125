#include "launch/train/run_folder.h"

#include <algorithm>
#include <vector>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

std::optional<fs::path> open_run_folder(const fs::path& folder) {
  try {
    make_folder_durably(folder);
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
    make_folder_durably(aside);
    // The checkpoints first: a start that dies in between finds none to go on from.
    std::sort(earlier.begin(), earlier.end(), [](const fs::path& a, const fs::path& b) {
      return std::pair(a.filename() != "checkpoints", a) < std::pair(b.filename() != "checkpoints", b);
    });
    for (const fs::path& path : earlier) rename_durably(path, aside / path.filename());
    sync_folder(folder);
    return aside;
  } catch (const std::exception& e) {
    throw UserError(cat("run.dir = \"", folder.string(), "\": ", e.what(), "; choose another folder"));
  }
}

}  // namespace pscale
