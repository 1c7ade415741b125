#include "models/parscale/model_config.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/base/errors.h"
#include "models/layers/rotary_angles.h"

namespace pscale {

bool ModelConfig::has_cross_attn(int64_t layer) const {
  const auto& chosen = parscale_cross_attn_layers;
  return enable_cross_attn && (!chosen || std::find(chosen->begin(), chosen->end(), layer) != chosen->end());
}

std::optional<int64_t> ModelConfig::window(int64_t layer) const {
  return use_sliding_window && layer >= max_window_layers ? sliding_window : std::nullopt;
}

void ModelConfig::describe_model(ConfigSection& section) {
  section.add("model_type", model_type, "Family; decides the default of attention_bias alone",
              one_of({"qwen2", "llama", "parscale"}));
  section.add("vocab_size", vocab_size, "Tokens in the vocabulary", required(at_least(1)));
  section.add("hidden_size", hidden_size, "Width of the residual stream", required(at_least(1)));
  section.add("intermediate_size", intermediate_size, "Width of the MLP", required(at_least(1)));
  section.add("num_hidden_layers", num_hidden_layers, "Decoder layers", required(at_least(1)));
  section.add("num_attention_heads", num_attention_heads, "Query heads", required(at_least(1)));
  section.add("num_key_value_heads", num_key_value_heads, "Key/value heads; not given: num_attention_heads",
              at_least(1));
  section.add("head_dim", head_dim, "Size of a head; none: hidden_size / num_attention_heads", at_least(2));
  section.add("attention_bias", attention_bias,
              "Bias on the q, k, v of self-attention; not given: false for llama, else true");
  section.add("hidden_act", hidden_act, "Activation of the MLP", one_of({"silu"}));
  section.add("max_position_embeddings", max_position_embeddings, "Longest sequence the model is meant for",
              at_least(1));
  section.add("initializer_range", initializer_range, "Standard deviation of new weights", at_least(0));
  section.add("rms_norm_eps", rms_norm_eps, "Added to the mean square in a norm", above(0));
  section.add("rope_theta", rope_theta, "Base of the rotary angles", above(0));
  section.add("tie_word_embeddings", tie_word_embeddings, "Whether the head is the embedding");
  section.add("use_sliding_window", use_sliding_window,
              "Whether layers from max_window_layers on see a window only");
  section.add("sliding_window", sliding_window, "Positions that a query sees, itself among them",
              at_least(1));
  section.add("max_window_layers", max_window_layers, "Layers below this one see everything", at_least(0));

  ConfigSection& rope = section.add_table(
      "rope_scaling", "How rotary angles are stretched, as in transformers", {"rope_parameters"});
  RopeScaling& r = rope_scaling;
  rope.add("rope_type", r.rope_type, "Kind of stretching",
           also_called({"type"}, one_of({"default", "linear", "yarn", "llama3"})));
  rope.add("rope_theta", rope_theta, "The same as model.rope_theta, where transformers 5 keeps it",
           only_read(above(0)));
  rope.add("factor", r.factor, "linear, yarn, llama3: new context length / original one", above(0));
  rope.add("original_max_position_embeddings", r.original_max_position_embeddings,
           "yarn, llama3: context length of the pretraining; none: max_position_embeddings", at_least(1));
  rope.add("low_freq_factor", r.low_freq_factor,
           "llama3: longer wavelengths than original / this are stretched", above(0));
  rope.add("high_freq_factor", r.high_freq_factor, "llama3: shorter wavelengths than original / this stay",
           above(0));
  rope.add("beta_fast", r.beta_fast, "yarn: frequencies with more rotations than this stay", above(0));
  rope.add("beta_slow", r.beta_slow, "yarn: frequencies with fewer rotations than this are stretched",
           above(0));
  rope.add("attention_factor", r.attention_factor,
           "yarn: multiplies cos and sin; none: from factor and mscale", above(0));
  rope.add("mscale", r.mscale, "yarn, with mscale_all_dim: weight of the magnitude's growth", at_least(0));
  rope.add("mscale_all_dim", r.mscale_all_dim, "yarn, with mscale: the same for the divisor", at_least(0));
  rope.add("truncate", r.truncate, "yarn: round the bounds of the ramp to whole dims");
}

void ModelConfig::describe_parscale(ConfigSection& section) {
  section.add("parscale_n", parscale_n, "Replicas P", at_least(1));
  section.add("parscale_n_tokens", parscale_n_tokens,
              "Prefix keys and values of each layer and replica; not given: 48 where parscale_n > 1, else 0",
              at_least(0));
  section.add("parscale_attn_smooth", parscale_attn_smooth,
              "Part of the blend that all replicas share equally", between(0, 1));
  section.add("enable_cross_attn", enable_cross_attn,
              "Each position attends to the same position of all replicas");
  section.add("parscale_cross_attn_layers", parscale_cross_attn_layers,
              "Layers with cross-replica attention; none: all", at_least(0));
  section.add("enable_replica_rope", enable_replica_rope,
              "Rotary over the replica index in cross-replica attention");
  section.add("replica_rope_layout", replica_rope_layout,
              "half, or interleaved to read checkpoints of parscale-xattn", one_of({"half", "interleaved"}));
  section.add("enable_xkv_attn", enable_xkv_attn, "Self-attention over the keys and values of all replicas");
  section.add("allow_identical_replicas", allow_identical_replicas,
              "Train replicas that nothing tells apart, which all compute the same");
}

void ModelConfig::complete(const ConfigOrigins& origins) {
  if (!origins.given("model.attention_bias")) attention_bias = model_type != "llama";
  if (!origins.given("model.num_key_value_heads")) num_key_value_heads = num_attention_heads;
  if (!origins.given("parscale.parscale_n_tokens")) parscale_n_tokens = parscale_n > 1 ? 48 : 0;
}

namespace {

void check_heads(const ModelConfig& c, const ConfigOrigins& origins, std::vector<std::string>& problems) {
  if (c.num_attention_heads % c.num_key_value_heads != 0)
    problems.push_back(cat(origins.name("model.num_key_value_heads"), " = ", c.num_key_value_heads,
                           " must divide model.num_attention_heads = ", c.num_attention_heads));
  if (!c.head_dim && c.hidden_size % c.num_attention_heads != 0) {
    problems.push_back(cat(origins.name("model.num_attention_heads"), " = ", c.num_attention_heads,
                           " must divide model.hidden_size = ", c.hidden_size, "; or set model.head_dim"));
  } else if (c.head_size() % 2 != 0 || c.head_size() < 2) {
    problems.push_back(cat(origins.name(c.head_dim ? "model.head_dim" : "model.num_attention_heads"),
                           ": the head size is ", c.head_size(),
                           c.head_dim ? "" : " (model.hidden_size / model.num_attention_heads)",
                           ", and rotary embedding needs an even one"));
  }
}

void check_replicas(const ModelConfig& c, const ConfigOrigins& origins, std::vector<std::string>& problems) {
  const auto need_replicas = [&](bool enabled, const char* key) {
    if (enabled && c.parscale_n == 1)
      problems.push_back(
          cat(origins.name(key), " = true needs more than one replica; set parscale.parscale_n above 1"));
  };
  need_replicas(c.enable_cross_attn, "parscale.enable_cross_attn");
  need_replicas(c.enable_xkv_attn, "parscale.enable_xkv_attn");
  need_replicas(c.enable_replica_rope, "parscale.enable_replica_rope");
  if (c.enable_cross_attn && c.enable_xkv_attn)
    problems.push_back(cat(origins.name("parscale.enable_xkv_attn"),
                           " = true excludes parscale.enable_cross_attn = true; turn one of them off"));
  if (c.enable_replica_rope && !c.enable_cross_attn)
    problems.push_back(
        cat(origins.name("parscale.enable_replica_rope"),
            " = true acts within cross-replica attention; set parscale.enable_cross_attn = true"));
  if (c.parscale_n > 1 && c.parscale_n_tokens == 0 && !c.allow_identical_replicas)
    problems.push_back(
        cat(origins.name("parscale.parscale_n_tokens"), " = 0 with parscale.parscale_n = ", c.parscale_n,
            ": nothing tells the replicas apart, so all compute the same, and attention among equal values "
            "returns that "
            "value, with replica rotary or without; set parscale.parscale_n_tokens above 0, or "
            "parscale.allow_identical_replicas = true if this is what you want"));
}

void check_cross_layers(const ModelConfig& c, const ConfigOrigins& origins,
                        std::vector<std::string>& problems) {
  if (!c.parscale_cross_attn_layers) return;
  const std::string name = origins.name("parscale.parscale_cross_attn_layers");
  if (!c.enable_cross_attn) problems.push_back(cat(name, " needs parscale.enable_cross_attn = true"));
  std::set<int64_t> seen;
  for (const int64_t layer : *c.parscale_cross_attn_layers) {
    if (layer < 0 || layer >= c.num_hidden_layers)
      problems.push_back(cat(name, " names layer ", layer, ", but with model.num_hidden_layers = ",
                             c.num_hidden_layers, " layers count from 0 to ", c.num_hidden_layers - 1));
    if (!seen.insert(layer).second)
      problems.push_back(cat(name, " names layer ", layer, " twice; once is enough"));
  }
}

}  // namespace

void ModelConfig::check(const ConfigOrigins& origins, std::vector<std::string>& problems) const {
  check_heads(*this, origins, problems);
  if (model_type == "llama" && attention_bias)
    problems.push_back(cat(origins.name("model.attention_bias"),
                           " = true: Llama's attention_bias also puts a bias on o_proj, which is not "
                           "supported; for a bias on q, k, v "
                           "alone set model.model_type = \"qwen2\""));
  for (const std::string& problem : rope_scaling_problems(rope_scaling, rope_theta, max_position_embeddings))
    problems.push_back(origins.placed(problem));
  check_replicas(*this, origins, problems);
  check_cross_layers(*this, origins, problems);
}

std::vector<std::string> ModelConfig::warnings() const {
  std::vector<std::string> warnings;
  if (parscale_n > 1 && has_cross_attn(0))
    warnings.push_back(
        "cross-replica attention in layer 0 sees identical replicas (they part at the first prefix): it is a "
        "linear map "
        "there, and its q and k learn nothing; parscale.parscale_cross_attn_layers can leave layer 0 out");
  if (enable_cross_attn && parscale_cross_attn_layers && parscale_cross_attn_layers->empty())
    warnings.push_back(
        "parscale.parscale_cross_attn_layers = [] leaves no layer with cross-replica attention");
  if (use_sliding_window && !sliding_window)
    warnings.push_back("model.use_sliding_window = true has no effect without model.sliding_window");
  if (use_sliding_window && sliding_window && max_window_layers >= num_hidden_layers)
    warnings.push_back(cat("model.use_sliding_window = true has no effect: model.max_window_layers = ",
                           max_window_layers, " exempts all layers"));
  if (allow_identical_replicas && parscale_n > 1 && parscale_n_tokens == 0)
    warnings.push_back("all replicas are identical (parscale.allow_identical_replicas = true)");
  return warnings;
}

double model_flops_per_token(const ModelConfig& c, int64_t sequence) {
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  const double h = real(c.hidden_size), f = real(c.intermediate_size), p = real(c.parscale_n),
               s = real(sequence);
  const double q = real(c.head_size() * c.num_attention_heads),
               kv = real(c.head_size() * c.num_key_value_heads);
  const double projections = 2 * h * (2 * q + 2 * kv);
  double seen = 0,
         crossing = 0;  // keys a query sees, summed over the layers; layers with cross-replica attention
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    const double window = std::min(s, real(c.window(layer).value_or(sequence)));
    seen += window * (1 - window / (2 * s));
    crossing += c.has_cross_attn(layer) ? 1 : 0;
  }
  const double layers = real(c.num_hidden_layers);
  seen = seen * (c.enable_xkv_attn ? p : 1) + layers * real(c.parscale_n_tokens);
  const double per_replica =
      layers * (projections + 6 * h * f) + 4 * q * seen + crossing * (projections + 4 * q * p);
  const double aggregate = p > 1 ? 2 * p * h * h + 2 * p * h : 0;
  return 3 * (p * per_replica + aggregate + 2 * h * real(c.vocab_size));
}

}  // namespace pscale
