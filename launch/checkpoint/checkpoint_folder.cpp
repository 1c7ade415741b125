#include "launch/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <charconv>
#include <iomanip>
#include <sstream>

#include "core/base/durable_file.h"
#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWriting = ".writing_";
constexpr const char* kRemoving = ".removing_";
constexpr const char* kReplaced = ".replaced";  // step_N.replaced: the old one, where a new one of its step takes its name

std::optional<int64_t> step_of(const std::string& name) {
  constexpr std::string_view prefix = "step_";
  if (!name.starts_with(prefix)) return std::nullopt;
  int64_t step = 0;
  const char *begin = name.data() + prefix.size(), *end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc{} && stop == end && begin != end ? std::optional(step) : std::nullopt;
}

}  // namespace

std::string checkpoint_name(int64_t step) {
  std::ostringstream name;
  name << "step_" << std::setw(8) << std::setfill('0') << step;
  return name.str();
}

std::optional<fs::path> find_checkpoint(const fs::path& path) {
  std::error_code missing;
  for (const fs::path& candidate : {path, path / "latest", path / "checkpoints" / "latest"})
    if (fs::exists(candidate / "manifest.json", missing)) return fs::canonical(candidate);
  return std::nullopt;
}

int64_t free_bytes(const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) throw UserError(cat(folder.string(), ": ", error.message()));
  return static_cast<int64_t>(space.available);
}

std::vector<CheckpointFolder::Entry> CheckpointFolder::list() const {
  std::vector<Entry> entries;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, missing))
    if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory())
      entries.push_back({*step, entry.path()});
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.step > b.step; });
  return entries;
}

bool CheckpointFolder::contains(const fs::path& checkpoint) const {
  std::error_code missing;
  return fs::exists(path_, missing) && fs::equivalent(fs::absolute(checkpoint).parent_path(), path_, missing);
}

std::vector<fs::path> CheckpointFolder::set_aside_after(int64_t step) const {
  const std::vector<Entry> entries = list();
  // The link first, so that it never points at nothing.
  const auto kept = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.step <= step; });
  if (kept != entries.end()) link_durably(path_ / "latest", kept->path.filename());
  std::vector<fs::path> moved;
  if (kept == entries.begin()) return moved;
  const fs::path run = path_.parent_path();
  int number = 1;
  while (fs::exists(run / cat("previous_", number, "/checkpoints"))) ++number;
  const fs::path aside = run / cat("previous_", number, "/checkpoints");
  make_folder_durably(aside);
  for (auto it = entries.begin(); it != kept; ++it) {
    moved.push_back(aside / it->path.filename());
    rename_durably(it->path, moved.back());
  }
  return moved;
}

fs::path CheckpointFolder::being_written(int64_t step, const std::string& id) const {
  return path_ / cat(kWriting, checkpoint_name(step), ".", id);
}

void CheckpointFolder::begin(int64_t step, const std::string& id) const {
  make_folder_durably(being_written(step, id) / "shards");
}

void CheckpointFolder::commit(int64_t step, const std::string& id) const {
  const fs::path from = being_written(step, id), to = path_ / checkpoint_name(step);
  sync_folder(from);
  std::error_code later;  // what cannot be removed now is a leftover of the next start
  if (!fs::exists(to)) {
    rename_durably(from, to);
  } else if (exchange_durably(from, to)) {
    fs::remove_all(from, later);
  } else {
    const fs::path replaced = to.string() + kReplaced;
    rename_durably(to, replaced);
    rename_durably(from, to);
    fs::remove_all(replaced, later);
  }
  link_durably(path_ / "latest", checkpoint_name(step));
}

void CheckpointFolder::remove(const fs::path& checkpoint) const {
  const fs::path condemned = path_ / cat(kRemoving, checkpoint.filename().string());
  rename_durably(checkpoint, condemned);
  std::error_code later;  // what cannot be removed now is a leftover of the next start
  fs::remove_all(condemned, later);
}

void CheckpointFolder::prune(int64_t last, int64_t every) const {
  if (last == 0) return;
  const std::vector<Entry> entries = list();
  for (size_t i = static_cast<size_t>(last); i < entries.size(); ++i)
    if (every == 0 || entries[i].step % every != 0) remove(entries[i].path);
}

std::vector<std::string> CheckpointFolder::remove_leftovers() const {
  std::vector<std::string> names;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, missing)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kReplaced)) {
      const fs::path step = path_ / name.substr(0, name.size() - std::string_view(kReplaced).size());
      if (!fs::exists(step)) {
        rename_durably(entry.path(), step);
        continue;
      }
      names.push_back(name);
    }
    if (name.starts_with(kWriting) || name.starts_with(kRemoving) || name == "latest.partial") names.push_back(name);
  }
  for (const std::string& name : names) {
    std::error_code ignored;
    fs::remove_all(path_ / name, ignored);
  }
  return names;
}

}  // namespace pscale
