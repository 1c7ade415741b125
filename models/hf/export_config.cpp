#include "models/hf/export_config.h"

#include <nlohmann/json.hpp>

namespace pscale {

namespace {

using Json = nlohmann::ordered_json;

/// Keys of [parscale], which a plain model has not.
std::vector<std::string> parscale_keys() {
  ModelConfig fresh;
  ConfigSection section("parscale");
  fresh.describe_parscale(section);
  return section.keys();
}

int64_t windowed_layers(const ModelConfig& config) {
  int64_t count = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) count += config.window(layer).has_value();
  return count;
}

/// Whether every transformers 4.5x and 5 computes the same angles: in early ones yarn takes the ratio of the lengths
/// for its factor where the original one is given, and knows no truncate.
bool has_plain_rope(const ModelConfig& config) {
  const RopeScaling& rope = config.rope_scaling;
  if (rope.rope_type != "yarn") return true;
  const bool ratio = !rope.factor || !rope.original_max_position_embeddings ||
                     *rope.factor * static_cast<double>(*rope.original_max_position_embeddings) ==
                         static_cast<double>(config.max_position_embeddings);
  return rope.truncate && ratio;
}

/// What transformers takes as given where we have a default.
void complete_rope(const ModelConfig& config, Json& json) {
  const RopeScaling& rope = config.rope_scaling;
  const auto real = [](int64_t value) { return static_cast<double>(value); };
  const int64_t most = config.max_position_embeddings;
  Json& table = json["rope_scaling"];
  if (rope.rope_type == "llama3" && !rope.original_max_position_embeddings)
    table["original_max_position_embeddings"] = most;
  if (rope.rope_type != "yarn") return;
  if (!rope.factor) table["factor"] = real(most) / real(rope.original_max_position_embeddings.value_or(most));
  if (rope.truncate) table.erase("truncate");
}

}  // namespace

ExportFamily export_family(const ModelConfig& config) {
  if (config.parscale_n > 1 || config.parscale_n_tokens > 0) return ExportFamily::parscale;
  if (!has_plain_rope(config)) return ExportFamily::parscale;
  const int64_t windows = windowed_layers(config);
  if (config.attention_bias && (windows == 0 || windows == config.num_hidden_layers)) return ExportFamily::qwen2;
  if (!config.attention_bias && windows == 0) return ExportFamily::llama;
  return ExportFamily::parscale;
}

nlohmann::ordered_json export_config(const ModelConfig& config, DType dtype) {
  const ExportFamily family = export_family(config);
  Json json;
  const auto begin = [&](const char* architecture, const char* model_type) {
    json["architectures"] = Json::array({architecture});
    if (family == ExportFamily::parscale)
      json["auto_map"] = {{"AutoConfig", "configuration_parscale.ParscaleConfig"},
                          {"AutoModel", "modeling_parscale.ParscaleModel"},
                          {"AutoModelForCausalLM", "modeling_parscale.ParscaleForCausalLM"}};
    json.update(to_json(config));
    json["model_type"] = model_type;
  };
  switch (family) {
    case ExportFamily::qwen2: begin("Qwen2ForCausalLM", "qwen2"); break;
    case ExportFamily::llama: begin("LlamaForCausalLM", "llama"); break;
    case ExportFamily::parscale: begin("ParscaleForCausalLM", "parscale"); break;
  }
  if (family != ExportFamily::parscale)
    for (const std::string& key : parscale_keys()) json.erase(key);
  if (family == ExportFamily::llama)
    for (const char* key : {"use_sliding_window", "sliding_window", "max_window_layers"}) json.erase(key);
  if (family == ExportFamily::qwen2) {
    json.erase("attention_bias");
    // transformers 4.51 takes the window from sliding_window, whatever use_sliding_window says.
    if (windowed_layers(config) == 0) json["use_sliding_window"] = false, json["sliding_window"] = nullptr;
  }
  complete_rope(config, json);
  json["torch_dtype"] = name_of(dtype);
  return json;
}

}  // namespace pscale
