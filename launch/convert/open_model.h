// Opening the weights that a user names, whichever kind of folder they are in.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"

namespace pscale {

struct OpenModel {
  std::unique_ptr<TensorSource> tensors;
  ModelConfig config;
  std::string tokenizer;  ///< "bytes", or the folder its files are in; empty: none
  std::string like;       ///< the Hugging Face folder whose special tokens hold; empty: none
};

/// `path`: a checkpoint, the folder of a run (its latest one), a Hugging Face folder, or the id of a model in the local
/// Hugging Face cache. Its tensors have been compared with what its configuration declares, and with `check` the hashes of
/// a checkpoint's. Throws UserError that names what is wrong with the folder.
OpenModel open_model(const std::string& path, bool check = true);

/// The configuration alone. Nothing where the model is not on this machine. Throws UserError where it is damaged.
std::optional<ModelConfig> model_config_of(const std::string& path);

}  // namespace pscale
