// manifest.json of a checkpoint: what it holds and the hash of every byte of it. It is written last, so a folder without
// one is no checkpoint. docs/checkpoint_format.md describes the file.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/tensor/tensor.h"
#include "parallel/checkpoint/state.h"
#include "parallel/mesh/layout.h"

namespace pscale {

inline constexpr const char* kManifestName = "manifest.json";
inline constexpr int kFormatVersion = 1;

/// A tensor of the model as the checkpoint has it.
struct TensorRecord {
  DType dtype = DType::float32;
  Shape shape;       ///< as slabs count it
  Shape file_shape;  ///< as model.h5 shows it
  bool trained = false;  ///< whether optimizer.h5 has its moments
};

/// A dataset of a shard: contiguous, little-endian.
struct DatasetRecord {
  StateKind kind = StateKind::weight;
  std::string tensor;
  DType dtype = DType::float32;
  Hyperslab slab;      ///< of the whole tensor
  int64_t offset = 0;  ///< in the file, bytes
  int64_t bytes = 0;
  uint64_t hash = 0;
  std::string path() const;  ///< in the file: "weights/NAME"
};

struct FileRecord {
  std::string path;  ///< relative to the checkpoint's folder
  int64_t bytes = 0;
  uint64_t structure = 0;  ///< hash of all bytes that are not in a dataset, in order
  std::vector<DatasetRecord> datasets;
};

struct Manifest {
  std::string id;  ///< in the names of the shards, so that no other file is taken for one
  int64_t step = 0, updates = 0, next_sample = 0, skipped_steps = 0, skipped_in_a_row = 0;
  bool validation_pending = false;  ///< the validation of this step is still to be taken
  std::vector<double> recent_losses;  ///< that the rule for loss spikes looks at, oldest first
  Layout layout;
  std::string created;  ///< UTC, ISO 8601
  std::string config;   ///< the resolved configuration, TOML
  std::string model;    ///< the same model as the JSON text of a Hugging Face config.json
  std::string tokenizer;  ///< that the data was made with: "bytes"; empty: unknown
  std::map<std::string, std::string> data;      ///< fingerprints of the token files by configuration key
  std::map<std::string, std::string> versions;  ///< of the program and its libraries
  std::map<std::string, TensorRecord> tensors;
  std::vector<FileRecord> files;

  /// Throws InvariantError where there is none of that name.
  const TensorRecord& tensor(const std::string& name) const;
};

/// JSON, with a hash of itself at the end.
std::string to_json(const Manifest& manifest);
/// Reads FOLDER/manifest.json. Throws UserError naming the file: missing, damaged, or of a newer version.
Manifest read_manifest(const std::filesystem::path& folder);

/// The records of one rank's shard as text for another rank, and back.
std::string to_json(const FileRecord& record);
FileRecord file_record_from_json(const std::string& text);

}  // namespace pscale
