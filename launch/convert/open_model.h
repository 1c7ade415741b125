// Opening the weights that a user names, whichever kind of folder they are in.
#pragma once

#include <memory>
#include <string>

#include "models/parscale/model_config.h"
#include "parallel/checkpoint/tensor_source.h"

namespace pscale {

struct OpenModel {
  std::unique_ptr<TensorSource> tensors;
  ModelConfig config;
  std::string hf_folder;  ///< where the tokenizer and special tokens are found; empty: not a Hugging Face folder
};

/// `path`: a Hugging Face folder, or the id of a model in the local Hugging Face cache. Its tensors have been compared
/// with what its configuration declares. Throws UserError that names what is wrong with the folder.
OpenModel open_model(const std::string& path);

}  // namespace pscale
