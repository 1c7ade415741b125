// A checkpoint folder: made from the shards of all ranks, and read into any layout.
//
//   step_00000100/manifest.json            what there is, and the hash of every byte
//   step_00000100/model.h5                 every weight as one whole tensor under its Hugging Face name
//   step_00000100/optimizer.h5             exp_avg/NAME, exp_avg_sq/NAME: Adam's moments, likewise
//   step_00000100/shards/rank_00003.ID.h5  the data; the two files above are virtual datasets over these
//   step_00000100/tokenizer/...            the files of the tokenizer of the training data, where it has any
//
// Nothing here is collective or knows of a mesh: a rank is told what to read.
#pragma once

#include "parallel/checkpoint/manifest.h"
#include "parallel/checkpoint/shard.h"
#include "parallel/checkpoint/tensor_source.h"

namespace pscale {

/// The shard of a rank, relative to the checkpoint's folder.
std::string shard_path(int64_t rank, const std::string& id);

/// Small files that go with the weights: path in the checkpoint's folder -> content.
using CarriedFiles = std::map<std::string, std::string>;
/// The folder of the tokenizer's files, relative to the checkpoint's.
inline constexpr const char* kTokenizerFolder = "tokenizer";

/// Writes model.h5 and optimizer.h5 over the shards in `manifest.files`, `carried`, and then the manifest, to which it
/// adds them. All is on the disk when it returns. Throws UserError naming the file where that fails.
void write_whole_files(const std::filesystem::path& folder, Manifest& manifest, const CarriedFiles& carried = {});

class Checkpoint {
 public:
  /// Reads the manifest and checks names and sizes of all files. Throws UserError with all problems.
  explicit Checkpoint(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }

  /// Fills `held`, whatever layout wrote the checkpoint; every dataset that is touched is checked. Throws UserError with
  /// all tensors that are missing, of another shape or damaged, and what `between` throws, which is called before each dataset;
  /// the memory of `held` is then undefined.
  void load(const std::vector<StateTensor>& held, const std::function<void()>& between = {}) const;

  /// Checks every byte of every file. `progress` is called with bytes of tensors done, and of all. Throws UserError.
  void verify(const std::function<void(int64_t done, int64_t total)>& progress = {}) const;
  /// Bytes of all files.
  int64_t bytes() const;

 private:
  std::filesystem::path folder_;
  Manifest manifest_;
};

/// The weights of a checkpoint as whole tensors, through model.h5.
class CheckpointSource final : public TensorSource {
 public:
  /// `check`: every weight is checked first; ranks that share a folder leave that to one of them. Throws UserError as
  /// Checkpoint does.
  explicit CheckpointSource(const std::filesystem::path& folder, bool check = true);
  ~CheckpointSource() override;
  const std::string& path() const override { return path_; }
  const std::map<std::string, Info>& tensors() const override { return tensors_; }
  void read_rows(const std::string& name, int64_t first, int64_t count, void* out) override;
  const Manifest& manifest() const { return checkpoint_.manifest(); }

 private:
  std::string path_;
  Checkpoint checkpoint_;
  std::map<std::string, Info> tensors_;
  std::unique_ptr<class Hdf5File> model_;
};

}  // namespace pscale
