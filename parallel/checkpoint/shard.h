// Shards: the file in which one rank writes what it owns, and reading such files back. Nothing here is collective.
#pragma once

#include <functional>

#include "parallel/checkpoint/manifest.h"

namespace pscale {

/// A copy of a StateTensor, taken so that training can go on while it is written.
struct SavedTensor {
  StateKind kind = StateKind::weight;
  std::string name;
  DType dtype = DType::float32;
  Hyperslab slab;
  std::vector<std::byte> bytes;  ///< row-major, dense
};

std::vector<SavedTensor> copy_state(const std::vector<StateTensor>& state);

/// Writes FOLDER/PATH, and brings it to the disk. Throws UserError naming the file where that fails.
FileRecord write_shard(const std::filesystem::path& folder, const std::string& path,
                       const std::vector<SavedTensor>& tensors);

/// Called with parts of a dataset in order: index of the first element, number of elements, memory.
using Part = std::function<void(int64_t first, int64_t count, const void* elements)>;

/// Reads shards of a checkpoint and checks them against its manifest.
class ShardReader {
 public:
  /// Checks existence and size of the file and its structure hash, before HDF5 may look at it. Throws UserError naming it.
  ShardReader(const std::filesystem::path& folder, const FileRecord& record);
  ~ShardReader();
  ShardReader(const ShardReader&) = delete;
  ShardReader& operator=(const ShardReader&) = delete;

  /// Reads a whole dataset through a buffer of fixed size, giving out its parts. Throws UserError naming file and tensor
  /// where its hash is not the manifest's: what was given out is then worthless.
  void read(const DatasetRecord& dataset, const Part& part) const;

 private:
  std::filesystem::path path_;
  const FileRecord* record_;
  int file_ = -1;
};

/// The record of a file without datasets of its own (model.h5, optimizer.h5, those of a tokenizer): all of it is structure.
FileRecord record_of(const std::filesystem::path& folder, const std::string& path);

}  // namespace pscale
