// The config.json of an exported model.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/tensor/dtype.h"
#include "models/parscale/model_config.h"

namespace pscale {

/// As which architecture transformers runs an exported model.
enum class ExportFamily : uint8_t { qwen2, llama, parscale };

/// The plain one of a model with one replica and no prefix where all of transformers 4.5x and 5 compute it so, else
/// parscale. They do not for a sliding window without biases (Llama has none) or in some layers only (Qwen2's was in
/// all layers until 4.53), nor for yarn with a factor other than the ratio of the lengths or without truncation.
ExportFamily export_family(const ModelConfig& config);

/// config.json for that family, keys as both generations of transformers read them. `dtype`: of most weights.
nlohmann::ordered_json export_config(const ModelConfig& config, DType dtype);

}  // namespace pscale
