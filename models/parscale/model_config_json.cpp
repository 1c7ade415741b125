#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/errors.h"
#include "models/parscale/model_config.h"

namespace pscale {
namespace {

ConfigSection model_section(ModelConfig& config) {
  ConfigSection section("model");
  config.describe_model(section);
  return section;
}

ConfigSection parscale_section(ModelConfig& config) {
  ConfigSection section("parscale");
  config.describe_parscale(section);
  return section;
}

/// Brings the files of the families of ParScale checkpoints under the one model_type used here, with what theirs means:
/// QwenLM/ParScale builds no prefix for one replica, parscale-xattn rotates replicas by interleaved pairs.
void unify_model_type(ConfigTable& values) {
  ConfigValue* type = values.find("model_type");
  const auto* found = type ? std::get_if<std::string>(&type->data) : nullptr;
  if (!found) return;
  const std::string name = *found;
  const auto absent = [&](const char* key) { return !values.find(key) || values.find(key)->is_null(); };
  if (name == "qwen2_parscale") {
    const ConfigValue* replicas = values.find("parscale_n");
    const auto* count = replicas ? std::get_if<int64_t>(&replicas->data) : nullptr;
    if (absent("parscale_n") || (count && *count == 1)) values["parscale_n_tokens"].data = int64_t{0};
  }
  if (name == "parscale_cross_attn" && absent("replica_rope_layout"))
    values["replica_rope_layout"].data = std::string("interleaved");
  for (const char* other : {"qwen2_parscale", "parscale_base", "parscale_cross_attn", "ParScale"})
    if (name == other) values["model_type"].data = std::string("parscale");
}

/// Keys of other models that would change what is computed.
void check_foreign_keys(const ConfigTable& values, const std::string& source,
                        std::vector<std::string>& problems) {
  const auto refuse_unless = [&](const char* key, auto allowed, const char* why) {
    const ConfigValue* value = values.find(key);
    if (!value || value->is_null()) return;
    const ConfigValue wanted{allowed, {}, {}};
    if (value->text() != wanted.text())
      problems.push_back(cat(source, ": ", key, " = ", value->text(), " is not supported: ", why));
  };
  refuse_unless("mlp_bias", false, "the MLP here has no bias");
  refuse_unless("partial_rotary_factor", 1.0, "the whole head is rotated here");
  const ConfigValue* quantization = values.find("quantization_config");
  if (quantization && !quantization->is_null())
    problems.push_back(cat(source,
                           ": quantization_config: quantized weights are not supported; take the unquantized "
                           "model"));
}

/// transformers lists the kind of each layer, too: the list must say what the window keys say.
void check_layer_types(const ModelConfig& config, const ConfigTable& values, const std::string& source,
                       std::vector<std::string>& problems) {
  const ConfigValue* given = values.find("layer_types");
  const auto* types = given ? std::get_if<ConfigArray>(&given->data) : nullptr;
  if (!types) return;
  if (static_cast<int64_t>(types->size()) != config.num_hidden_layers) {
    problems.push_back(cat(source, ": layer_types has ", types->size(), " entries for ",
                           config.num_hidden_layers, " layers"));
    return;
  }
  for (size_t layer = 0; layer < types->size(); ++layer) {
    const bool windowed = config.window(static_cast<int64_t>(layer)).has_value();
    const std::string expected = windowed ? "\"sliding_attention\"" : "\"full_attention\"";
    if ((*types)[layer].text() != expected)
      problems.push_back(cat(source, ": layer_types[", layer, "] is ", (*types)[layer].text(),
                             ", but use_sliding_window, ", "sliding_window and max_window_layers make it ",
                             expected));
  }
}

ModelConfig from_table(ConfigTable values, const std::string& source) {
  ModelConfig config;
  ConfigOrigins origins;
  std::vector<std::string> problems;
  unify_model_type(values);
  read_section(model_section(config), values, UnknownKeys::ignore, {}, origins, problems);
  read_section(parscale_section(config), values, UnknownKeys::ignore, {}, origins, problems);
  check_foreign_keys(values, source, problems);
  config.complete(origins);
  std::vector<std::string> broken;
  config.check(origins, broken);
  for (std::string& problem : broken)
    if (!origins.doubts(problem)) problems.push_back(std::move(problem));
  if (problems.empty()) check_layer_types(config, values, source, problems);
  if (!problems.empty()) {
    for (std::string& problem : problems)
      if (!problem.starts_with(source)) problem = cat(source, ": ", problem);
    throw UserError(std::move(problems));
  }
  return config;
}

}  // namespace

ModelConfig model_config_from_json(const nlohmann::ordered_json& json, const std::string& source) {
  return from_table(table_from_json(json, source), source);
}

ModelConfig read_model_config(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) throw UserError(cat("cannot read ", path));
  return from_table(parse_json(text.str(), path), path);
}

nlohmann::ordered_json to_json(const ModelConfig& config) {
  ModelConfig copy = config;
  nlohmann::ordered_json json;
  write_json(model_section(copy), json);
  write_json(parscale_section(copy), json);
  json["head_dim"] = config.head_size();  // some readers take null for a number
  // As transformers writes it: no table for angles that are not stretched, and none of the other kinds'
  // parameters.
  const RopeScaling& rope = config.rope_scaling;
  if (rope.rope_type == "default") {
    json["rope_scaling"] = nullptr;
    return json;
  }
  nlohmann::ordered_json& table = json["rope_scaling"];
  const bool yarn = rope.rope_type == "yarn", llama3 = rope.rope_type == "llama3";
  const auto drop = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys) table.erase(key);
  };
  if (!llama3) drop({"low_freq_factor", "high_freq_factor"});
  if (!yarn) drop({"beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim", "truncate"});
  if (!yarn && !llama3) drop({"original_max_position_embeddings"});
  for (const char* key :
       {"factor", "original_max_position_embeddings", "attention_factor", "mscale", "mscale_all_dim"})
    if (table.contains(key) && table[key].is_null()) table.erase(key);
  return json;
}

}  // namespace pscale
