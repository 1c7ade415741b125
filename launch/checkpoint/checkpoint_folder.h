// RUN/checkpoints: the checkpoints of a run and the names they have while they are made or removed. Not collective.
//
// A checkpoint is made as .writing_step_N.ID and renamed when it is complete and on the disk; one that is removed is
// first renamed to .removing_*. So a folder step_N is complete, whenever the job died; other names are leftovers. A new
// one of the same step takes the old one's name in one exchange; where the file system cannot do that, the old one is
// step_N.replaced for an instant.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pscale {

class CheckpointFolder {
 public:
  explicit CheckpointFolder(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }

  struct Entry {
    int64_t step = 0;
    std::filesystem::path path;
  };
  /// Newest first. Empty where the folder does not exist.
  std::vector<Entry> list() const;

  /// Whether a path is a checkpoint of this folder.
  bool contains(const std::filesystem::path& checkpoint) const;
  /// Moves checkpoints of later steps to a folder previous_1, previous_2, ... beside this one and points `latest` at the
  /// newest that is left: when a run goes on from an earlier one. Returns where they are.
  std::vector<std::filesystem::path> set_aside_after(int64_t step) const;

  /// Where a checkpoint is written until commit().
  std::filesystem::path being_written(int64_t step, const std::string& id) const;
  /// Makes that folder and the one for shards in it. All ranks may do so.
  void begin(int64_t step, const std::string& id) const;
  /// Gives the checkpoint its name and points `latest` at it; an older one of the same step is replaced. All is on the
  /// disk when it returns. Throws UserError naming what failed.
  void commit(int64_t step, const std::string& id) const;

  /// Removes all but the newest `last` (0: none is removed) and those whose step is a multiple of `every` (0: none).
  void prune(int64_t last, int64_t every) const;
  /// Removes what dead jobs left, and gives a checkpoint back its name that was about to be replaced; returns the names of
  /// what is removed.
  std::vector<std::string> remove_leftovers() const;

 private:
  void remove(const std::filesystem::path& checkpoint) const;
  std::filesystem::path path_;
};

/// "step_00000100".
std::string checkpoint_name(int64_t step);

/// The checkpoint that a path stands for: itself, or the latest of a run or of its checkpoints folder. Nothing where there
/// is none.
std::optional<std::filesystem::path> find_checkpoint(const std::filesystem::path& path);

/// Bytes that can still be written to the file system of `folder`.
int64_t free_bytes(const std::filesystem::path& folder);

}  // namespace pscale
