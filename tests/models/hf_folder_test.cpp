#include "models/hf/hf_folder.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>

#include "models/hf/converted_source.h"
#include "models/hf/hub_cache.h"
#include "models/hf/safetensors_writer.h"
#include "models/hf/tensor_list.h"
#include "tests/data/folder.h"

namespace pscale {
namespace {

ModelConfig small(bool tied) {
  ModelConfig config;
  config.model_type = "qwen2";
  config.vocab_size = 10;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.tie_word_embeddings = tied;
  return config;
}

using Tensors = std::map<std::string, SafetensorsValue>;

/// Every declared tensor; element i of tensor number t is 100 t + i.
Tensors weights_of(const ModelConfig& config) {
  Tensors tensors;
  float start = 0;
  for (const ParameterSpec& spec : declared_parameters(config)) {
    SafetensorsValue& value = tensors[spec.name];
    value.shape = shape_in_files(spec);
    value.values.resize(static_cast<size_t>(elements_of(value.shape)));
    std::iota(value.values.begin(), value.values.end(), start);
    start += 100;
  }
  return tensors;
}

class HfFolderTest : public FolderTest {
 protected:
  void write(const ModelConfig& config, const Tensors& tensors) {
    put("config.json", to_json(config).dump());
    write_safetensors(path("model.safetensors"), tensors);
  }
  /// The tensors in two files and their index, changed by `change` before it is written.
  void write_parts(const ModelConfig& config, const std::function<void(nlohmann::json&, Tensors&, Tensors&)>& change) {
    put("config.json", to_json(config).dump());
    Tensors parts[2];
    nlohmann::json map;
    for (const auto& [name, value] : weights_of(config)) {
      const size_t part = name.find("layers.1") != std::string::npos;
      parts[part][name] = value;
      map[name] = cat("part", part, ".safetensors");
    }
    change(map, parts[0], parts[1]);
    for (size_t part = 0; part < 2; ++part)
      if (!parts[part].empty()) write_safetensors(path(cat("part", part, ".safetensors")), parts[part]);
    put("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
  }
  void expect_error(std::initializer_list<std::string> parts) {
    const std::string error = error_of([&] {
      const HfFolder folder(folder_.string());
      check_tensors(folder, folder.config());
    });
    for (const std::string& part : parts) EXPECT_NE(error.find(part), std::string::npos) << part << " in " << error;
  }
};

const std::string kDown = "model.layers.1.mlp.down_proj.weight";

TEST_F(HfFolderTest, ReadsRowsOfOneFileOrOfSeveral) {
  const ModelConfig config = small(false);
  const Tensors tensors = weights_of(config);
  for (const bool parts : {false, true}) {
    if (parts) {
      std::filesystem::remove(path("model.safetensors"));
      write_parts(config, [](auto&...) {});
    } else {
      write(config, tensors);
    }
    HfFolder folder(folder_.string());
    check_tensors(folder, folder.config());
    EXPECT_EQ(to_json(folder.config()), to_json(config));
    EXPECT_EQ(folder.tensors().size(), tensors.size());
    EXPECT_EQ(folder.tensors().at(kDown).shape, (Shape{8, 12}));
    std::vector<float> rows(3 * 12);
    folder.read_rows(kDown, 2, 3, rows.data());
    const auto& whole = tensors.at(kDown).values;
    EXPECT_EQ(rows, std::vector<float>(whole.begin() + 24, whole.begin() + 60));
    EXPECT_NE(error_of([&] { folder.read_rows("none", 0, 1, rows.data()); }).find("tensor none is missing"),
              std::string::npos);
  }
}

TEST_F(HfFolderTest, NamesWhatIsWrongWithParts) {
  const ModelConfig config = small(false);
  write_parts(config, [](auto&, auto&, auto& second) { second.clear(); });
  expect_error({path("part1.safetensors"), "is missing", kDown});
  write_parts(config, [](auto&, auto&, auto& second) { second.erase(kDown); });
  expect_error({path("part1.safetensors"), "lacks " + kDown, "model.safetensors.index.json"});
  write_parts(config, [](auto&, auto& first, auto& second) { first[kDown] = second[kDown]; });
  expect_error({path("part0.safetensors"), "holds tensor " + kDown, "places in part1.safetensors"});
  write_parts(config, [](auto&, auto& first, auto&) { first["extra"] = {{1}, {1}}; });
  expect_error({path("part0.safetensors"), "holds tensor extra", "does not name"});
  write_parts(config, [](auto& map, auto&, auto&) { map[kDown] = "../elsewhere.safetensors"; });
  expect_error({"model.safetensors.index.json", kDown, "beside its index"});
  put("model.safetensors.index.json", "{}");
  expect_error({"model.safetensors.index.json", "no weight_map"});
  write_parts(config, [](auto&...) {});
  std::filesystem::resize_file(path("part1.safetensors"), 1500);
  expect_error({path("part1.safetensors"), "cut short"});
}

TEST_F(HfFolderTest, ListsAllDifferencesAtOnce) {
  const ModelConfig config = small(false);
  Tensors tensors = weights_of(config);
  tensors.erase(kDown);
  tensors.erase("model.norm.weight");
  tensors["model.layers.7.mlp.up_proj.weight"] = {{1}, {1}};
  tensors["lm_head.weight"] = {{5, 16}, std::vector<float>(80)};
  write(config, tensors);
  expect_error({"2 tensors missing", kDown, "model.norm.weight", "1 tensor that", "layers.7.mlp",
                "lm_head.weight [5, 16] instead of [10, 8]"});
  // Long lists end in a count.
  write(config, {{"lm_head.weight", tensors.at("lm_head.weight")}});
  expect_error({"26 tensors missing", "and 6 more"});
}

TEST_F(HfFolderTest, LeavesOutWhatFollowsFromTheRest) {
  Tensors tensors = weights_of(small(true));
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{2}, {1, 2}};
  tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight");
  write(small(true), tensors);
  HfFolder folder(folder_.string());
  EXPECT_NO_THROW(check_tensors(folder, folder.config()));
  EXPECT_FALSE(folder.tensors().contains("lm_head.weight"));
  tensors.at("lm_head.weight").values[79] += 1;
  write(small(true), tensors);
  expect_error({path("model.safetensors"), "lm_head.weight differs", "tie_word_embeddings"});
}

TEST_F(HfFolderTest, WidensHalvesAndRefusesIntegers) {
  const auto file = [&](const std::string& dtype, size_t bytes) {
    const std::string header =
        cat(R"({"model.norm.weight":{"dtype":")", dtype, R"(","shape":[2],"data_offsets":[0,)", bytes, "]}}");
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size());
    put("config.json", to_json(small(false)).dump());
    put("model.safetensors", length + header + std::string("\x00\x3c\x00\xc0\x00\x00\x00\x00", bytes));
  };
  file("F16", 4);
  HfFolder folder(folder_.string());
  float values[2];
  folder.read_rows("model.norm.weight", 0, 2, values);
  EXPECT_EQ(folder.tensors().at("model.norm.weight").dtype, DType::float32);
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[1], -2);
  file("I32", 8);
  expect_error({path("model.safetensors"), "model.norm.weight is I32"});
}

TEST_F(HfFolderTest, SaysWhatAFolderLacks) {
  put("config.json", to_json(small(false)).dump());
  expect_error({folder_.string(), "has no weights", "model.safetensors"});
  put("pytorch_model.bin", "");
  expect_error({folder_.string(), "pytorch_model.bin", "transformers"});
}

TEST_F(HfFolderTest, ABaseBecomesAParScaleModel) {
  const ModelConfig base = small(false);
  write(base, weights_of(base));
  HfFolder folder(folder_.string());
  ModelConfig target = base;
  target.parscale_n = 4;
  target.parscale_n_tokens = 3;
  target.enable_cross_attn = true;
  ConvertedSource source(folder, target, 5, DType::float32);
  EXPECT_NO_THROW(check_tensors(source, target));
  std::vector<float> rows(8 * 12);
  source.read_rows(kDown, 0, 8, rows.data());
  EXPECT_EQ(rows, weights_of(base).at(kDown).values);
  for (const ParameterSpec& spec : declared_parameters(target)) {
    EXPECT_EQ(source.added().contains(spec.name), spec.added) << spec.name;
    if (!spec.added) continue;
    // What a new model would have, whether it is read at once or in rows.
    const std::vector<float> whole = initial_values(spec, {Shape(spec.shape.size(), 0), spec.shape}, 5);
    std::vector<float> read(whole.size());
    const int64_t rows_of = shape_in_files(spec)[0], width = static_cast<int64_t>(whole.size()) / rows_of;
    for (int64_t row = 0; row < rows_of; ++row) source.read_rows(spec.name, row, 1, read.data() + row * width);
    EXPECT_EQ(read, whole) << spec.name;
  }
  // A model cannot lose what it has.
  ModelConfig fewer = target;
  fewer.num_hidden_layers = 1;
  EXPECT_NE(error_of([&] { ConvertedSource(folder, fewer, 5, DType::float32); }).find(kDown), std::string::npos);
  // Nor get more layers out of nothing.
  ModelConfig more = target;
  more.num_hidden_layers = 3;
  EXPECT_NE(error_of([&] { ConvertedSource(folder, more, 5, DType::float32); }).find("layers.2.mlp"),
            std::string::npos);
}

TEST_F(HfFolderTest, HubIdsAreFoundInTheCache) {
  EXPECT_TRUE(looks_like_hub_id("Qwen/Qwen2.5-0.5B"));
  for (const char* path : {"run", "./run/x", "/tmp/x", "a/b/c", "../x", "a/", "a b/c"})
    EXPECT_FALSE(looks_like_hub_id(path)) << path;
  setenv("HF_HUB_CACHE", folder_.c_str(), 1);
  put("models--org--name/refs/main", "abc\n");
  const std::string missing = error_of([] { find_in_hub_cache("org/name"); });
  EXPECT_NE(missing.find("hf download org/name"), std::string::npos) << missing;
  put("models--org--name/snapshots/abc/config.json", "{}");
  EXPECT_EQ(find_in_hub_cache("org/name"), path("models--org--name/snapshots/abc"));
  unsetenv("HF_HUB_CACHE");
}

}  // namespace
}  // namespace pscale
