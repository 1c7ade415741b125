#include "models/parscale/model_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/base/errors.h"

namespace pscale {
namespace {

using Json = nlohmann::ordered_json;

Json small() {
  return Json{{"model_type", "parscale"}, {"hidden_act", "silu"},     {"vocab_size", 100},
              {"hidden_size", 48},        {"intermediate_size", 80},  {"num_hidden_layers", 5},
              {"num_attention_heads", 6}, {"num_key_value_heads", 3}, {"parscale_n", 1},
              {"parscale_n_tokens", 0}};
}

Json with(Json json, const Json& changes) {
  if (!changes.is_null()) json.update(changes);
  return json;
}

ModelConfig model(const Json& changes) {
  return model_config_from_json(with(small(), changes), "config.json");
}

/// All problems of a configuration that must be refused.
std::vector<std::string> problems_of(const Json& changes) {
  try {
    model(changes);
  } catch (const UserError& error) {
    return error.problems();
  }
  ADD_FAILURE() << changes << " was taken";
  return {};
}

void expect_only_problem(const Json& changes, const std::string& part) {
  const auto problems = problems_of(changes);
  EXPECT_EQ(problems.size(), 1u) << join(problems, "\n");
  for (const std::string& problem : problems) {
    EXPECT_NE(problem.find(part), std::string::npos) << problem;
    EXPECT_TRUE(problem.starts_with("config.json: ")) << problem;
  }
}

TEST(ModelConfig, ReadsAHuggingFaceFile) {
  const ModelConfig c = model_config_from_json(
      Json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "torch_dtype": "float32", "max_position_embeddings": 4096, "vocab_size": 128, "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 12, "rms_norm_eps": 1e-05, "rope_theta": 100000, "tie_word_embeddings": true,
        "use_sliding_window": true, "sliding_window": 7, "max_window_layers": 1, "parscale_n": 4,
        "enable_cross_attn": true, "parscale_cross_attn_layers": [0, 2], "mlp_bias": false})"),
      "config.json");
  EXPECT_EQ(c.model_type, "llama");
  EXPECT_FALSE(c.attention_bias);
  EXPECT_EQ(c.head_size(), 12);
  EXPECT_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_EQ(c.rope_theta, 100000);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.parscale_n_tokens, 48);
  EXPECT_TRUE(c.has_cross_attn(0));
  EXPECT_FALSE(c.has_cross_attn(1));
  EXPECT_TRUE(c.has_cross_attn(2));
  EXPECT_EQ(c.window(0), std::nullopt);
  EXPECT_EQ(c.window(1), 7);
  EXPECT_EQ(c.rope_scaling.rope_type, "default");
}

TEST(ModelConfig, DefaultsThatDependOnOtherKeys) {
  Json json = small();
  json.erase("parscale_n_tokens");
  json.erase("num_key_value_heads");
  EXPECT_EQ(model_config_from_json(json, "c").parscale_n_tokens, 0);
  EXPECT_EQ(model_config_from_json(json, "c").num_key_value_heads, 6);
  json["parscale_n"] = 2;
  EXPECT_EQ(model_config_from_json(json, "c").parscale_n_tokens, 48);
  json["parscale_n_tokens"] = 5;
  EXPECT_EQ(model_config_from_json(json, "c").parscale_n_tokens, 5);
  EXPECT_TRUE(model({{"model_type", "qwen2"}}).attention_bias);
  EXPECT_TRUE(model({{"model_type", "qwen2_parscale"}}).attention_bias);
  EXPECT_FALSE(model({{"model_type", "llama"}}).attention_bias);
  EXPECT_FALSE(model({{"attention_bias", false}}).attention_bias);
  EXPECT_EQ(model({}).head_size(), 8);
  EXPECT_EQ(model({{"head_dim", nullptr}}).head_size(), 8);
}

TEST(ModelConfig, WhatAFileLeavesOpenFollowsItsModelType) {
  // QwenLM/ParScale writes 48 prefix tokens whatever the replicas, and builds none for one.
  const Json qwen{{"model_type", "qwen2_parscale"}, {"parscale_n_tokens", 48}};
  EXPECT_EQ(model(qwen).parscale_n_tokens, 0);
  EXPECT_EQ(model(with(qwen, {{"parscale_n", nullptr}})).parscale_n_tokens, 0);
  EXPECT_EQ(model(with(qwen, {{"parscale_n", 2}})).parscale_n_tokens, 48);
  EXPECT_EQ(model({{"parscale_n_tokens", 48}}).parscale_n_tokens, 48);

  const Json rope{
      {"parscale_n", 2}, {"parscale_n_tokens", 3}, {"enable_cross_attn", true}, {"enable_replica_rope", true}};
  const auto layout = [&](const Json& changes) { return model(with(rope, changes)).replica_rope_layout; };
  EXPECT_EQ(layout({{"model_type", "parscale_cross_attn"}}), "interleaved");
  EXPECT_EQ(layout({{"model_type", "parscale_cross_attn"}, {"replica_rope_layout", nullptr}}), "interleaved");
  EXPECT_EQ(layout({{"model_type", "parscale_cross_attn"}, {"replica_rope_layout", "half"}}), "half");
  EXPECT_EQ(layout({{"model_type", "parscale"}}), "half");
}

TEST(ModelConfig, JsonReadsBackToTheSame) {
  const Json rope{{"rope_type", "yarn"},
                  {"factor", 4.0},
                  {"original_max_position_embeddings", 1024},
                  {"beta_fast", 16.0}};
  for (const Json& changes :
       {Json::object(), Json{{"parscale_n", 4}, {"parscale_n_tokens", 2}, {"enable_cross_attn", true}},
        Json{{"rope_scaling", rope}},
        Json{{"head_dim", 10}, {"use_sliding_window", true}, {"sliding_window", 4}}}) {
    const Json written = to_json(model(changes));
    EXPECT_EQ(to_json(model_config_from_json(written, "again")), written);
    EXPECT_TRUE(written.at("head_dim").is_number_integer());
  }
  EXPECT_TRUE(to_json(model({})).at("rope_scaling").is_null());
  const Json yarn = to_json(model({{"rope_scaling", rope}})).at("rope_scaling");
  EXPECT_EQ(yarn.at("factor"), 4.0);
  EXPECT_FALSE(yarn.contains("low_freq_factor"));
  EXPECT_FALSE(yarn.contains("mscale"));
}

TEST(ModelConfig, RopeIsReadInTheOldAndTheNewForm) {
  const Json llama3{{"factor", 8.0},
                    {"low_freq_factor", 1.0},
                    {"high_freq_factor", 4.0},
                    {"original_max_position_embeddings", 8192}};
  const ModelConfig old = model({{"rope_theta", 5e5}, {"rope_scaling", with(llama3, {{"type", "llama3"}})}});
  const ModelConfig both = model(
      {{"rope_theta", 5e5}, {"rope_scaling", with(llama3, {{"type", "llama3"}, {"rope_type", "llama3"}})}});
  const ModelConfig now =
      model({{"rope_parameters", with(llama3, {{"rope_type", "llama3"}, {"rope_theta", 5e5}})}});
  for (const ModelConfig& c : {old, both, now}) {
    EXPECT_EQ(c.rope_scaling.rope_type, "llama3");
    EXPECT_EQ(c.rope_theta, 5e5);
    EXPECT_EQ(c.rope_scaling.factor, 8.0);
    EXPECT_EQ(c.rope_scaling.original_max_position_embeddings, 8192);
  }
  expect_only_problem({{"rope_scaling", {{"rope_type", "longrope"}}}},
                      "one of default, linear, yarn, llama3");
  expect_only_problem({{"rope_scaling", {{"rope_type", "linear"}}}}, "model.rope_scaling.factor is missing");
  expect_only_problem({{"rope_parameters", {{"full_attention", {{"rope_theta", 1.0}}}}}},
                      "model.rope_scaling.full_attention is unknown");
}

TEST(ModelConfig, RefusesWhatItDoesNotCompute) {
  expect_only_problem({{"model_type", "mistral"}}, "one of qwen2, llama, parscale");
  expect_only_problem({{"hidden_act", "gelu"}}, "one of silu");
  expect_only_problem({{"mlp_bias", true}}, "mlp_bias = true is not supported");
  expect_only_problem({{"partial_rotary_factor", 0.5}}, "partial_rotary_factor = 0.5 is not supported");
  expect_only_problem({{"quantization_config", {{"bits", 4}}}}, "quantization_config");
  expect_only_problem({{"model_type", "llama"}, {"attention_bias", true}}, "also puts a bias on o_proj");
  const Json full =
      Json::array({"full_attention", "full_attention", "full_attention", "full_attention", "full_attention"});
  EXPECT_NO_THROW(model({{"layer_types", full}}));
  expect_only_problem(
      {{"layer_types", full}, {"use_sliding_window", true}, {"sliding_window", 9}, {"max_window_layers", 4}},
      "layer_types[4] is \"full_attention\"");
}

TEST(ModelConfig, RefusesShapesThatDoNotFit) {
  expect_only_problem({{"num_key_value_heads", 4}}, "must divide model.num_attention_heads = 6");
  expect_only_problem({{"hidden_size", 50}}, "must divide model.hidden_size = 50; or set model.head_dim");
  expect_only_problem({{"head_dim", 7}}, "the head size is 7, and rotary embedding needs an even one");
  expect_only_problem({{"hidden_size", 54}},
                      "the head size is 9 (model.hidden_size / model.num_attention_heads)");
  expect_only_problem({{"vocab_size", 0}}, "model.vocab_size = 0 must be at least 1");
  Json json = small();
  json.erase("hidden_size");
  EXPECT_THROW(model_config_from_json(json, "c"), UserError);
}

TEST(ModelConfig, RulesOfTheReplicas) {
  expect_only_problem({{"enable_cross_attn", true}}, "needs more than one replica");
  expect_only_problem({{"enable_xkv_attn", true}}, "needs more than one replica");
  const Json four{{"parscale_n", 4}, {"parscale_n_tokens", 2}};
  const Json crossing = with(four, {{"enable_cross_attn", true}});
  expect_only_problem(with(crossing, {{"enable_xkv_attn", true}}), "excludes parscale.enable_cross_attn");
  expect_only_problem(with(four, {{"enable_replica_rope", true}}), "acts within cross-replica attention");
  expect_only_problem(with(four, {{"parscale_cross_attn_layers", {1}}}),
                      "needs parscale.enable_cross_attn = true");
  expect_only_problem(with(crossing, {{"parscale_cross_attn_layers", {1, 5}}}), "names layer 5");
  expect_only_problem(with(crossing, {{"parscale_cross_attn_layers", {1, 1}}}), "names layer 1 twice");
  expect_only_problem(with(crossing, {{"parscale_cross_attn_layers", {-1}}}), "must be at least 0");
  expect_only_problem(with(crossing, {{"replica_rope_layout", "pairs"}}), "one of half, interleaved");
  expect_only_problem(with(four, {{"parscale_attn_smooth", 1.5}}), "must be at least 0 and at most 1");
  EXPECT_NO_THROW(
      model(with(crossing, {{"parscale_cross_attn_layers", {1, 4}}, {"enable_replica_rope", true}})));
  EXPECT_NO_THROW(model(with(four, {{"enable_xkv_attn", true}})));
  EXPECT_EQ(problems_of({{"enable_replica_rope", true}}).size(), 2u);
}

TEST(ModelConfig, IdenticalReplicasAreRefusedUnlessAllowed) {
  const Json same{{"parscale_n", 4}, {"parscale_n_tokens", 0}};
  expect_only_problem(same, "parscale.allow_identical_replicas = true");
  expect_only_problem(with(same, {{"enable_cross_attn", true}, {"enable_replica_rope", true}}),
                      "replica rotary or without");
  const ModelConfig allowed = model(with(same, {{"allow_identical_replicas", true}}));
  EXPECT_EQ(allowed.warnings().size(), 1u);
}

TEST(ModelConfig, WarnsOfWhatHasNoEffect) {
  const Json crossing{{"parscale_n", 4}, {"parscale_n_tokens", 2}, {"enable_cross_attn", true}};
  ASSERT_EQ(model(crossing).warnings().size(), 1u);
  EXPECT_NE(model(crossing).warnings()[0].find("layer 0"), std::string::npos);
  EXPECT_EQ(model(with(crossing, {{"parscale_cross_attn_layers", {1, 2}}})).warnings().size(), 0u);
  EXPECT_EQ(model(with(crossing, {{"parscale_cross_attn_layers", Json::array()}})).warnings().size(), 1u);
  EXPECT_EQ(model({{"use_sliding_window", true}}).warnings().size(), 1u);
  EXPECT_EQ(model({{"use_sliding_window", true}, {"sliding_window", 3}, {"max_window_layers", 5}})
                .warnings()
                .size(),
            1u);
  EXPECT_EQ(model({}).warnings().size(), 0u);
}

// The numbers are those of flops_per_token of the PyTorch program that speed is compared with.
TEST(ModelConfig, FlopsPerToken) {
  EXPECT_DOUBLE_EQ(model_flops_per_token(model({}), 64), 673920);
  EXPECT_DOUBLE_EQ(model_flops_per_token(model({{"parscale_n_tokens", 7}}), 64), 694080);
  const Json four{{"parscale_n", 4}, {"parscale_n_tokens", 3}};
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(with(four, {{"head_dim", 20}})), 33), 4102848);
  const Json layers{{"enable_cross_attn", true}, {"parscale_cross_attn_layers", {1, 4}}};
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(with(four, layers)), 64), 3050496);
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(with(four, {{"enable_xkv_attn", true}})), 64), 3806208);
  Json window{{"use_sliding_window", true}, {"sliding_window", 10}, {"max_window_layers", 2}};
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(window), 64), 634554);
  window["sliding_window"] = 100;
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(window), 64), 673920);
  const Json joint{{"parscale_n", 2}, {"parscale_n_tokens", 5},     {"enable_xkv_attn", true},
                   {"head_dim", 10},  {"use_sliding_window", true}, {"sliding_window", 9}};
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(joint), 77), 1424649.974025974);
  const Json bench{{"vocab_size", 8192},     {"hidden_size", 512},       {"intermediate_size", 1408},
                   {"num_hidden_layers", 8}, {"num_attention_heads", 8}, {"num_key_value_heads", 2},
                   {"parscale_n", 4},        {"parscale_n_tokens", 48},  {"enable_cross_attn", true}};
  EXPECT_DOUBLE_EQ(model_flops_per_token(model(bench), 512), 758919168);
}

}  // namespace
}  // namespace pscale
