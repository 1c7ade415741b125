// The shape of a model: sections [model], whose keys are those of a Hugging Face config.json, and [parscale].
// Both are one struct, because the files of Hugging Face know one flat list. Plain data: any layer from
// models/ on may read it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "models/layers/rope_scaling.h"

namespace pscale {

struct ModelConfig {
  // [model]
  std::string model_type =
      "parscale";  ///< qwen2 | llama | parscale: decides the default of attention_bias alone
  int64_t vocab_size = 128;
  int64_t hidden_size = 32;
  int64_t intermediate_size = 64;
  int64_t num_hidden_layers = 2;
  int64_t num_attention_heads = 4;
  int64_t num_key_value_heads = 2;
  std::optional<int64_t> head_dim;  ///< absent: hidden_size / num_attention_heads; see head_size()
  bool attention_bias =
      true;  ///< on self-attention's q, k, v (never o); not given: false for llama, else true
  std::string hidden_act = "silu";
  int64_t max_position_embeddings = 32768;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool use_sliding_window = false;
  std::optional<int64_t> sliding_window;
  int64_t max_window_layers = 0;  ///< layers below this one see everything

  // [parscale]
  int64_t parscale_n = 1;         ///< replicas, P
  int64_t parscale_n_tokens = 0;  ///< prefix tokens; not given: 48 where P > 1, else 0
  double parscale_attn_smooth = 0.01;
  bool enable_cross_attn = false;
  std::optional<std::vector<int64_t>> parscale_cross_attn_layers;  ///< absent: all
  bool enable_replica_rope = false;
  std::string replica_rope_layout = "half";  ///< half | interleaved
  bool enable_xkv_attn = false;
  bool allow_identical_replicas = false;

  /// Head size D.
  int64_t head_size() const { return head_dim.value_or(hidden_size / num_attention_heads); }
  bool has_cross_attn(int64_t layer) const;
  /// Whether all replicas are still the same on entering a layer (num_hidden_layers: at the end): they part at the first
  /// prefix, in layer 0, or never.
  bool identical_replicas(int64_t layer) const { return layer == 0 || parscale_n_tokens == 0; }
  /// Sliding-window length of a layer: a query sees itself and the window-1 positions before it. Absent: all
  /// of them.
  std::optional<int64_t> window(int64_t layer) const;

  void describe_model(ConfigSection& section);
  void describe_parscale(ConfigSection& section);
  /// The defaults that depend on other keys, for those that no source gave. Keys are looked up in `origins`
  /// as model.attention_bias and so on.
  void complete(const ConfigOrigins& origins);
  /// Adds the broken rules, each a sentence with file, line and key where known, and what to do.
  void check(const ConfigOrigins& origins, std::vector<std::string>& problems) const;
  /// What is allowed but probably not meant.
  std::vector<std::string> warnings() const;
};

/// A Hugging Face config.json: unknown keys are ignored, null is absent, and what would change the
/// mathematics in a way that this model does not have is refused. What a file leaves open follows its model_type:
/// qwen2_parscale has no prefix at P = 1, parscale_cross_attn rotates replicas by interleaved pairs. Throws UserError
/// with all problems, each naming the file.
ModelConfig read_model_config(const std::string& path);
ModelConfig model_config_from_json(const nlohmann::ordered_json& json, const std::string& source);
/// The flat JSON object that a Hugging Face folder carries.
nlohmann::ordered_json to_json(const ModelConfig& config);

/// Model FLOPs of one training token at sequence length `sequence`: forward, and backward at twice that; no
/// recomputation; every weight trained. A matrix product m x k x n counts 2mkn; attention counts the keys a
/// query sees on average: the prefix, half the sequence (less under a window), times P for joint attention;
/// norms and rotary are not counted. The same number as PaLM's appendix B (Chowdhery et al. 2022), with these
/// terms added and causality counted.
double model_flops_per_token(const ModelConfig& config, int64_t sequence);

}  // namespace pscale
