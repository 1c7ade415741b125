// How a model stretches its rotary embedding: the `rope_scaling` table of a Hugging Face config.json
// (`rope_parameters` since transformers 5), keys and defaults as there. A plain struct: the configuration
// fills it, models/layers/rotary_angles.h turns it into angles.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pscale {

struct RopeScaling {
  std::string rope_type = "default";  ///< default | linear | yarn | llama3 ("type" in old files)
  /// linear, yarn, llama3: new context length / original one. yarn without it: max_position_embeddings /
  /// original_max_position_embeddings.
  std::optional<double> factor;
  /// yarn, llama3: context length of the pretraining; absent: the model's max_position_embeddings.
  std::optional<int64_t> original_max_position_embeddings;

  double low_freq_factor = 1;  ///< llama3: wavelengths above original / low_freq_factor are divided by factor
  double high_freq_factor = 4;  ///< llama3: wavelengths below original / high_freq_factor stay as they are

  double beta_fast = 32;  ///< yarn: frequencies with more rotations than this stay as they are
  double beta_slow = 1;   ///< yarn: frequencies with fewer rotations than this are divided by factor
  std::optional<double> attention_factor;  ///< yarn: multiplies cos and sin; absent: from factor and mscale
  std::optional<double> mscale;            ///< yarn, with mscale_all_dim: see rotary_angles.h
  std::optional<double> mscale_all_dim;
  bool truncate = true;  ///< yarn: round the bounds of the ramp to whole dims
};

}  // namespace pscale
