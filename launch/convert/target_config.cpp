#include "launch/convert/target_config.h"

#include "core/base/errors.h"

namespace pscale {

namespace {

/// The model part of `base` alone, [parscale] as in a fresh struct.
ModelConfig without_parscale(const ModelConfig& base) {
  ModelConfig config = base;
  const ModelConfig fresh;
  config.parscale_n = fresh.parscale_n;
  config.parscale_n_tokens = fresh.parscale_n_tokens;
  config.parscale_attn_smooth = fresh.parscale_attn_smooth;
  config.enable_cross_attn = fresh.enable_cross_attn;
  config.parscale_cross_attn_layers = fresh.parscale_cross_attn_layers;
  config.enable_replica_rope = fresh.enable_replica_rope;
  config.replica_rope_layout = fresh.replica_rope_layout;
  config.enable_xkv_attn = fresh.enable_xkv_attn;
  config.allow_identical_replicas = fresh.allow_identical_replicas;
  return config;
}

}  // namespace

Target target_of(const ModelConfig& base, const std::vector<std::string>& overrides) {
  Target target{base};
  if (overrides.empty()) return target;
  const bool plain = base.parscale_n == 1 && base.parscale_n_tokens == 0;
  if (plain) target.config = without_parscale(base);

  std::vector<std::string> problems;
  ConfigTable values;
  for (const std::string& argument : overrides) {
    try {
      merge(values, parse_override(argument));
    } catch (const UserError& malformed) {
      problems.insert(problems.end(), malformed.problems().begin(), malformed.problems().end());
    }
  }
  int64_t seed = static_cast<int64_t>(target.seed);
  std::vector<ConfigSection> sections;
  sections.emplace_back("parscale");
  target.config.describe_parscale(sections.back());
  sections.emplace_back("run");
  sections.back().add("seed", seed, "Seed of the new weights", at_least(0));
  ConfigHints hints;
  hints.notes["model"] = "conversion keeps [model] as it is in the folder of --from; take the key out";
  ConfigOrigins origins;
  read_sections(sections, values, hints, origins, problems);
  // What the base says is given, too.
  origins.set("model.attention_bias", {});
  origins.set("model.num_key_value_heads", {});
  if (!plain && !origins.given("parscale.parscale_n_tokens")) origins.set("parscale.parscale_n_tokens", {});
  target.config.complete(origins);
  std::vector<std::string> broken;
  target.config.check(origins, broken);
  for (std::string& problem : broken)
    if (!origins.doubts(problem)) problems.push_back(std::move(problem));
  if (!problems.empty()) throw UserError(std::move(problems));
  target.seed = static_cast<uint64_t>(seed);
  target.changes = true;
  return target;
}

}  // namespace pscale
