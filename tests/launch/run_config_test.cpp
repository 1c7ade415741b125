#include "launch/run_config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/base/errors.h"

namespace pscale {
namespace {

const char* const minimal = R"([model]
vocab_size = 257
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
)";

class RunConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              cat("pscale_run_config_", getpid(), "_",
                  testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& text) {
    const std::string path = (folder_ / "run.toml").string();
    std::ofstream(path) << text;
    return path;
  }
  Config load(const std::string& more, const std::vector<std::string>& overrides = {}) {
    return load_config(write(minimal + more), overrides);
  }
  std::vector<std::string> problems(const std::string& more, const std::vector<std::string>& overrides = {}) {
    try {
      load(more, overrides);
    } catch (const UserError& error) {
      return error.problems();
    }
    ADD_FAILURE() << "taken: " << more << join(overrides, " ");
    return {};
  }
  void expect_only_problem(const std::vector<std::string>& overrides, const std::string& part) {
    const auto found = problems("", overrides);
    EXPECT_EQ(found.size(), 1u) << join(found, "\n");
    for (const std::string& problem : found) EXPECT_NE(problem.find(part), std::string::npos) << problem;
  }

  std::filesystem::path folder_;
};

TEST_F(RunConfigTest, DefaultsFollowTheOriginal) {
  const Config c = load("");
  EXPECT_EQ(c.optimizer.learning_rate, 3e-4);
  EXPECT_EQ(c.optimizer.beta1, 0.9);
  EXPECT_EQ(c.optimizer.beta2, 0.999);
  EXPECT_EQ(c.optimizer.weight_decay, 0);
  EXPECT_EQ(c.optimizer.grad_clip, 1);
  EXPECT_EQ(c.optimizer.schedule, "constant_with_warmup");
  EXPECT_EQ(c.optimizer.warmup_steps, 2000);
  EXPECT_EQ(c.train.global_batch, 128);
  EXPECT_EQ(c.train.sequence_length, 2048);
  EXPECT_EQ(c.train.max_steps, 76294);
  EXPECT_EQ(c.train.max_skipped_steps, 3);
  EXPECT_EQ(c.run.seed, 42);
  EXPECT_EQ(c.log.interval, 25);
  EXPECT_EQ(c.model.parscale_attn_smooth, 0.01);
  EXPECT_EQ(load("", {"parscale.parscale_n=4"}).model.parscale_n_tokens, 48);
  EXPECT_EQ(join(c.warnings, "\n"), "");
}

TEST_F(RunConfigTest, ResolvedFileReadsBackToTheSame) {
  const Config c =
      load("", {"parscale.parscale_n=4", "optimizer.learning_rate=1e-3", "train.dtype=bfloat16",
                "model.rope_scaling.rope_type=yarn", "model.rope_scaling.factor=4", "log.peak_flops=1e12",
                "parscale.enable_cross_attn=true", "parscale.parscale_cross_attn_layers=[1]"});
  const std::string printed = to_toml(c);
  const Config again = load_config(write(printed), {});
  EXPECT_EQ(to_toml(again), printed);
  EXPECT_EQ(again.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(again.model.rope_scaling.factor, 4.0);
  EXPECT_EQ(again.model.parscale_cross_attn_layers, std::vector<int64_t>{1});
  EXPECT_EQ(again.model.parscale_n_tokens, 48);
  // A value in the resolved file does not shadow the same value given in another place.
  EXPECT_EQ(load_config(write(printed), {"model.rope_theta=5e5"}).model.rope_theta, 5e5);
}

TEST_F(RunConfigTest, KeysOfTheOriginalGetAHint) {
  const auto found = problems(
      "[training]\nlearning_rate = 1e-4\nper_device_train_batch_size = 4\ngradient_accumulation_steps = 4\n"
      "max_length = 10\noutput_dir = \"x\"\n");
  ASSERT_EQ(found.size(), 5u) << join(found, "\n");
  const std::string file = (folder_ / "run.toml").string();
  EXPECT_EQ(found[0],
            file + ":9: training.learning_rate is unknown; it is called optimizer.learning_rate here");
  EXPECT_EQ(
      found[1],
      file + ":10: training.per_device_train_batch_size is unknown; it is called train.micro_batch here");
  EXPECT_NE(found[2].find("set train.global_batch"), std::string::npos);
  EXPECT_NE(found[3].find("train.sequence_length"), std::string::npos);
  EXPECT_NE(found[4].find("run.dir"), std::string::npos);
  EXPECT_NE(problems("", {"model.parscale_n=4"})[0].find("did you mean parscale.parscale_n?"),
            std::string::npos);
  EXPECT_NE(problems("", {"train.learning_rate=1"})[0].find("did you mean optimizer.learning_rate?"),
            std::string::npos);
  EXPECT_NE(problems("", {"train.per_device_train_batch_size=1"})[0].find("train.micro_batch"),
            std::string::npos);
  EXPECT_NE(problems("", {"train.batch_size=1"})[0].find("train.global_batch"), std::string::npos);
  EXPECT_NE(problems("", {"optimizer.lr=1"})[0].find("optimizer.learning_rate"), std::string::npos);
  EXPECT_NE(problems("", {"training.save_steps=1"})[0].find("checkpoint.save_interval"), std::string::npos);
}

TEST_F(RunConfigTest, AllProblemsOfAllSourcesAtOnce) {
  const auto found =
      problems("[train]\nmax_step = 3\ndtype = \"float16\"\n[parscale]\nenable_cross_attn = true\n",
               {"run.device=gpu", "nonsense", "log.interval=0"});
  const std::vector<std::string> parts{
      "\"nonsense\" has no '='",       "run.device = \"gpu\"", ":12: parscale.enable_cross_attn",
      "did you mean train.max_steps?", "train.dtype",          "log.interval = 0"};
  EXPECT_EQ(found.size(), parts.size()) << join(found, "\n");
  for (const std::string& part : parts) EXPECT_NE(join(found, "\n").find(part), std::string::npos) << part;
}

TEST_F(RunConfigTest, AMisspeltKeyDoesNotBreakOtherRules) {
  EXPECT_EQ(problems("[parscale]\nparscal_n = 4\nenable_cross_attn = true\n").size(), 1u);
  EXPECT_EQ(problems("", {"model.num_attention_heads=none"}).size(), 1u);
  EXPECT_EQ(problems("", {"optimizer.schedule=linaer", "train.max_steps=1"}).size(), 1u);
}

TEST_F(RunConfigTest, SomethingMustTrain) {
  expect_only_problem({"optimizer.learning_rate=0"}, "must be above 0");
  expect_only_problem({"train.max_steps=0"}, "must be at least 1");
  expect_only_problem({"optimizer.schedule=linear", "train.max_steps=1", "optimizer.warmup_steps=0"},
                      "nothing would train");
  expect_only_problem({"parscale.parscale_n=2", "train.freeze_pretrained=true"}, "needs pretrained weights");
  EXPECT_TRUE(load("", {"parscale.parscale_n=2", "train.freeze_pretrained=true", "train.init_from=models/x"})
                  .train.freeze_pretrained);
  EXPECT_EQ(problems("", {"train.freeze_pretrained=true"}).size(), 2u);
}

TEST_F(RunConfigTest, TheModelItStartsFromSuppliesTheModel) {
  const auto golden = [](const char* name) { return cat(std::getenv("PSCALE_SOURCE"), "/tests/golden/", name); };
  const auto evaluated = [&](const char* name, std::vector<std::string> keys = {}) {
    return evaluation_config(golden(name), std::move(keys)).model;
  };
  EXPECT_EQ(evaluated("xattn_p4_layers").parscale_n, 4);
  EXPECT_TRUE(evaluated("xattn_p4_layers").parscale_cross_attn_layers.has_value());
  EXPECT_FALSE(evaluated("llama").attention_bias);
  EXPECT_EQ(evaluated("llama").hidden_size, 32);
  // A plain base has chosen nothing of [parscale]; what is added is the user's choice.
  const ModelConfig added = evaluated("qwen2", {"parscale.parscale_n=2"});
  EXPECT_EQ(added.parscale_n, 2);
  EXPECT_EQ(added.parscale_n_tokens, 48);
  expect_only_problem({cat("train.init_from=", golden("qwen2")), "model.vocab_size=128", "model.hidden_size=32",
                       "model.intermediate_size=64", "model.num_hidden_layers=3", "model.tie_word_embeddings=true"},
                      "model.num_hidden_layers = 3, but the model of train.init_from");
  // Where the model is not on this machine the file's keys are enough for a plan.
  EXPECT_EQ(load("", {"train.init_from=models/x"}).model.hidden_size, load("").model.hidden_size);
}

TEST_F(RunConfigTest, ScheduleRulesNameTheirPlace) {
  expect_only_problem({"optimizer.schedule=wsd", "train.max_steps=100", "optimizer.warmup_steps=90",
                       "optimizer.num_decay_steps=11"},
                      "command line: optimizer.warmup_steps = 90");
  const OptimizerConfig o =
      load("", {"optimizer.schedule=wsd", "optimizer.warmup_steps=5", "optimizer.decay_type=1-sqrt",
                "optimizer.num_decay_steps=10", "train.max_steps=50"})
          .optimizer;
  const ScheduleConfig s = o.schedule_config(50);
  EXPECT_EQ(s.kind, ScheduleKind::wsd);
  EXPECT_EQ(s.decay_type, RampKind::one_minus_sqrt);
  EXPECT_EQ(s.num_decay_steps, 10);
  EXPECT_EQ(s.max_steps, 50);
}

TEST_F(RunConfigTest, CudaNeedsABuildWithIt) {
#ifndef PSCALE_CUDA
  expect_only_problem({"run.device=cuda"}, "this build has no CUDA");
#else
  EXPECT_EQ(load("", {"run.device=cuda"}).run.device, "cuda");
#endif
}

TEST_F(RunConfigTest, AccumulationMustBeWhole) {
  const Config c = load("[train]\nglobal_batch = 24\nmicro_batch = 3\n");
  EXPECT_EQ(accumulation_steps(c, 1), 8);
  EXPECT_EQ(accumulation_steps(c, 8), 1);
  const auto message = [&](int64_t ranks) -> std::string {
    try {
      accumulation_steps(c, ranks);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(3),
            (folder_ / "run.toml").string() +
                ":9: train.global_batch = 24 must be a multiple of train.micro_batch * data ranks = 3 * 3; "
                "nearest train.global_batch: 18 or 27; train.micro_batch that fit: 1, 2, 4, 8");
  EXPECT_NE(message(16).find(
                "nearest train.global_batch: 48; no train.micro_batch fits, because 16 data ranks do not "
                "divide 24"),
            std::string::npos)
      << message(16);
  expect_only_problem({"train.global_batch=24", "train.micro_batch=3", "parallel.data=3"}, "18 or 27");
}

TEST_F(RunConfigTest, WarnsOfSequencesAndWarmUpsThatAreTooLong) {
  EXPECT_EQ(load("", {"model.max_position_embeddings=1024"}).warnings.size(), 1u);
  EXPECT_EQ(load("", {"train.max_steps=2000"}).warnings.size(), 1u);
}

TEST_F(RunConfigTest, AFileThatIsNotThereIsTheOnlyProblem) {
  try {
    load_config("nowhere/run.toml", {"train.max_steps=3"});
    ADD_FAILURE() << "read";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "cannot read nowhere/run.toml: there is no such file");
  }
}

TEST_F(RunConfigTest, AnUnreadableIncludeDoesNotHideTheOtherProblems) {
  const std::string file = write("include = [\"nowhere.toml\"]\n[train]\nmax_stps = 3\n");
  try {
    load_config(file, {"log.interval=0"});
    ADD_FAILURE() << "read";
  } catch (const UserError& error) {
    ASSERT_EQ(error.problems().size(), 3u) << error.what();
    EXPECT_NE(error.problems()[0].find("nowhere.toml"), std::string::npos);
    EXPECT_NE(error.problems()[1].find("did you mean train.max_steps?"), std::string::npos);
    EXPECT_NE(error.problems()[2].find("log.interval = 0"), std::string::npos);
  }
}

TEST(ShippedConfigs, AreSound) {
  const char* source = std::getenv("PSCALE_SOURCE");
  if (!source) GTEST_SKIP() << "PSCALE_SOURCE is not set";
  int count = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(std::filesystem::path(source) / "configs")) {
    if (entry.path().extension() != ".toml" || entry.path().string().find("/sweeps/") != std::string::npos)
      continue;
    ++count;
    Config c;
    EXPECT_NO_THROW(c = load_config(entry.path().string(), {})) << entry.path();
    const std::string name = entry.path().filename().string();
    // All layers cross in these: what the original did, and what is measured.
    const bool crosses_in_layer_0 =
        name == "debug.toml" || name == "small.toml" || name == "qwen2-0.5b-xattn.toml";
    EXPECT_EQ(c.warnings.size(), crosses_in_layer_0 ? 1u : 0u) << name << ": " << join(c.warnings, "\n");
  }
  EXPECT_GE(count, 11);
  const auto model = [&](const char* name) { return load_config(cat(source, "/configs/", name), {}).model; };
  EXPECT_EQ(model("xattn.toml").parscale_n, 4);
  EXPECT_TRUE(model("xattn.toml").has_cross_attn(1));
  EXPECT_TRUE(model("xkv.toml").enable_xkv_attn);
  EXPECT_TRUE(model("replica_rope.toml").enable_replica_rope);
  EXPECT_EQ(model("basic.toml").parscale_n, 1);
  EXPECT_TRUE(model("debug.toml").has_cross_attn(0));
  EXPECT_EQ(model("debug.toml").head_size(), 8);
  EXPECT_EQ(model_flops_per_token(model("bench/small.toml"), 512), 758919168);
}

}  // namespace
}  // namespace pscale
