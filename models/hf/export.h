// Writing a model folder of Hugging Face.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"

namespace pscale {

struct ExportOptions {
  std::optional<DType> dtype;  ///< float32 or bfloat16, rounded to nearest even; absent: each tensor as it is stored
  std::string tokenizer;       ///< "bytes", or a folder whose tokenizer files are copied; empty: none
  std::optional<int32_t> end_of_document;  ///< of a tokenizer in files; absent: what `like` says
  /// A model folder whose generation_config.json and ids of special tokens are kept; empty: none.
  std::string like;
  int64_t max_shard_bytes = 5'000'000'000;  ///< of tensors in one file; a larger tensor has a file of its own
  std::function<void(int64_t written, int64_t total)> progress;  ///< bytes of tensors; called often; may be empty
};

/// Writes config.json, generation_config.json, model.safetensors (or parts of it and their index), the tokenizer's
/// files and, where transformers has no such model, the Python files that run it. Tensors go through in blocks of rows,
/// so memory does not grow with the model.
///
/// `out` appears complete or not at all: all is written to OUT.partial, brought to the disk and renamed. Throws
/// UserError where `source` does not hold what `config` declares, where `out` exists and is not an empty folder, or
/// where it cannot be written.
void export_hf(TensorSource& source, const ModelConfig& config, const std::string& out, const ExportOptions& options);

}  // namespace pscale
