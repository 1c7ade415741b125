#include "launch/sweep/sweep_points.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "core/base/errors.h"
#include "launch/session.h"
#include "launch/sweep/sweep_list.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class SweepTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::path(testing::TempDir()) /
        cat("pscale_sweep_", getpid(), "_", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    std::ofstream(folder_ / "base.toml")
        << "[model]\nvocab_size = 257\nhidden_size = 32\nintermediate_size = 64\nnum_hidden_layers = "
           "2\nnum_attention_heads = 4\nnum_key_value_heads = 2\n[train]\nglobal_batch = 8\n";
  }
  void TearDown() override { fs::remove_all(folder_); }

  Sweep read(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const fs::path path = folder_ / "mine.toml";
    std::ofstream(path) << "[sweep]\nbase = \"base.toml\"\n" << text;
    return read_sweep(path, overrides);
  }
  SweepRuns runs(const std::string& text, const std::vector<std::string>& overrides = {}) {
    return expand(read(text, overrides));
  }
  std::vector<std::string> problems(const std::string& text, const std::vector<std::string>& overrides = {}) {
    try {
      runs(text, overrides);
    } catch (const UserError& e) {
      return e.problems();
    }
    ADD_FAILURE() << "taken: " << text;
    return {};
  }
  void expect_problem(const std::string& text, const std::vector<std::string>& parts,
                      const std::vector<std::string>& overrides = {}) {
    const auto found = problems(text, overrides);
    EXPECT_EQ(found.size(), 1u) << join(found, "\n");
    for (const std::string& problem : found)
      for (const std::string& part : parts)
        EXPECT_NE(problem.find(part), std::string::npos) << "\"" << part << "\" in: " << problem;
  }
  static std::vector<std::string> names(const SweepRuns& runs) {
    std::vector<std::string> all;
    for (const SweepRun& run : runs.runs) all.push_back(run.name);
    return all;
  }

  fs::path folder_;
};

TEST_F(SweepTest, TheGridIsEveryCombinationInTheOrderOfTheFile) {
  const SweepRuns found =
      runs("[grid]\nparscale.parscale_n = [1, 4]\noptimizer.learning_rate = [1e-4, 3e-4]\n");
  EXPECT_EQ(names(found),
            (std::vector<std::string>{"parscale_n=1,learning_rate=1e-4", "parscale_n=1,learning_rate=3e-4",
                                      "parscale_n=4,learning_rate=1e-4", "parscale_n=4,learning_rate=3e-4"}));
  EXPECT_EQ(found.runs[3].index, 3);
  EXPECT_EQ(found.runs[3].config.model.parscale_n, 4);
  EXPECT_EQ(found.runs[3].config.optimizer.learning_rate, 3e-4);
  EXPECT_EQ(found.runs[3].config.train.global_batch, 8);
  EXPECT_EQ(found.runs[3].folder(), "runs/mine/parscale_n=4,learning_rate=3e-4");
}

TEST_F(SweepTest, TheOverridesGiveTheSameConfigurationOnTheCommandLine) {
  const SweepRuns found = runs(
      "[fixed]\ntrain.max_steps = 7\nrun.seed = 3\n[grid]\nparscale.parscale_cross_attn_layers = [\"none\", "
      "[0], [0, 1]]\n"
      "data.train = [\"a b\", [{path = \"x\", weight = 0.5}, {path = \"y\", weight = 0.5}]]\n"
      "[[variant]]\nname = \"crossing\"\nparscale.parscale_n = 2\nparscale.enable_cross_attn = true\n");
  ASSERT_EQ(found.runs.size(), 6u);
  for (const SweepRun& run : found.runs)
    EXPECT_EQ(to_toml(load_config((folder_ / "base.toml").string(), run.overrides)), to_toml(run.config))
        << run.name;
  EXPECT_EQ(found.runs[0].name.substr(0, 42), "crossing,parscale_cross_attn_layers=none,t");
  EXPECT_EQ(found.runs[5].config.model.parscale_cross_attn_layers, (std::vector<int64_t>{0, 1}));
}

TEST_F(SweepTest, VariantsAreTakenWithEveryPoint) {
  const SweepRuns found = runs(
      "[fixed]\ntrain.micro_batch = 4\n[grid]\nrun.seed = [1, 2]\n[[variant]]\nname = "
      "\"a\"\n[[variant]]\nname = \"b\"\ntrain.micro_batch = 2\n");
  EXPECT_EQ(names(found), (std::vector<std::string>{"a,seed=1", "a,seed=2", "b,seed=1", "b,seed=2"}));
  EXPECT_EQ(found.runs[1].config.train.micro_batch, 4);
  EXPECT_EQ(found.runs[2].config.train.micro_batch, 2);
}

TEST_F(SweepTest, RulesDropPointsAndSayWhy) {
  const std::string text =
      "[grid]\nparscale.parscale_n = [1, 2, 4]\nparscale.parscale_n_tokens = [0, 8]\n"
      "[[drop]]\nbecause = \"the same\"\nparscale.parscale_n = {above = 1}\nparscale.parscale_n_tokens = "
      "0\nparscale.allow_identical_replicas = false\n";
  const SweepRuns found = runs(text);
  EXPECT_EQ(names(found), (std::vector<std::string>{
                              "parscale_n=1,parscale_n_tokens=0", "parscale_n=1,parscale_n_tokens=8",
                              "parscale_n=2,parscale_n_tokens=8", "parscale_n=4,parscale_n_tokens=8"}));
  ASSERT_EQ(found.dropped.size(), 2u);
  EXPECT_EQ(found.dropped[0].name, "parscale_n=2,parscale_n_tokens=0");
  EXPECT_EQ(found.dropped[0].because, "the same");
  EXPECT_NE(list_text(read(text), found, 0).find("parscale_n=4,parscale_n_tokens=0: the same"),
            std::string::npos);
  // What the rule asks for is not so any more: nothing is dropped.
  EXPECT_EQ(runs(text, {"parscale.allow_identical_replicas=true"}).runs.size(), 6u);
}

TEST_F(SweepTest, ConditionsAreValuesListsBoundsAndNot) {
  const std::string grid =
      "[grid]\nparscale.parscale_n = [1, 2, 4, 8]\nrun.device = [\"cpu\"]\n[[drop]]\nbecause = "
      "\"x\"\nparscale.parscale_n = ";
  EXPECT_EQ(runs(grid + "[2, 8]\n").runs.size(), 2u);
  EXPECT_EQ(runs(grid + "2.0\n").runs.size(), 3u);
  EXPECT_EQ(runs(grid + "{above = 1, below = 8}\n").runs.size(), 2u);
  EXPECT_EQ(runs(grid + "{not = 4}\n").runs.size(), 1u);
  EXPECT_EQ(runs(grid + "2\nrun.device = \"cuda\"\n").runs.size(), 4u);  // all conditions must hold
  EXPECT_EQ(runs("[grid]\nparscale.parscale_n = [2]\nparscale.enable_cross_attn = "
                 "[true]\nparscale.parscale_cross_attn_layers = [\"none\", [0], [0, 1]]\n"
                 "[[drop]]\nbecause = \"x\"\nparscale.parscale_cross_attn_layers = [0, 1]\n")
                .runs.size(),
            2u);
  expect_problem(grid + "{above = 0}\n", {"leave no run"});
}

TEST_F(SweepTest, PointsThatAreInvalidAndNotDroppedAreErrorsWithTheirPlace) {
  expect_problem("[grid]\nparscale.parscale_n_tokens = [0, 4]\n[fixed]\nparscale.parscale_n = 2\n",
                 {"mine.toml:4: parscale.parscale_n_tokens = 0", "in run parscale_n_tokens=0", "[[drop]]"});
  // What is wrong with all of them is said once, and no rule is proposed.
  const auto found = problems("[fixed]\ntrain.max_stepps = 3\n[grid]\nrun.seed = [1, 2]\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].find("[[drop]]"), std::string::npos);
  EXPECT_NE(found[0].find("mine.toml:4: train.max_stepps is unknown; did you mean train.max_steps?"),
            std::string::npos)
      << found[0];
  expect_problem("[grid]\nrun.seed = [1, -1]\n",
                 {"mine.toml:4: run.seed = -1 must be at least 0", "in run seed=-1"});
}

TEST_F(SweepTest, MistakesInTheFileNameTheLineAndTheKey) {
  expect_problem("[girds]\nrun.seed = [1]\n", {"mine.toml:3", "no section [girds]"});
  expect_problem("[train]\nmax_steps = 1\n", {"mine.toml:3", "belong in [fixed]"});
  expect_problem("[grid]\nrun.seed = 1\n", {"mine.toml:4: grid.run.seed = 1 must be a list"});
  expect_problem("[grid]\nrun.seed = []\n", {"mine.toml:4: grid.run.seed = [] must be a list"});
  expect_problem("[grid]\nrun.seed = [1, 2, 1]\n", {"mine.toml:4", "names 1 twice"});
  expect_problem("[grid]\nrun.seed = [1]\n[fixed]\nrun.seed = 2\n", {"mine.toml:6: run.seed is fixed"});
  expect_problem("[grid]\nrun.seed = [1]\n[[variant]]\nname = \"a\"\nrun.seed = 2\n",
                 {"mine.toml:7: run.seed is set by variant \"a\""});
  expect_problem("[fixed]\nrun.dir = \"x\"\n", {"mine.toml:4", "sweep.dir"});
  expect_problem("[fixed]\nseed = 1\n", {"mine.toml:4: fixed.seed names no section"});
  expect_problem("[[variant]]\nrun.seed = 1\n", {"variant.name is missing"});
  expect_problem("[[variant]]\nname = \"a\"\n[[variant]]\nname = \"a\"\n", {"mine.toml:6", "given twice"});
  expect_problem("[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\n", {"a and b are the same run"});
  expect_problem("[[drop]]\nrun.seed = 1\n", {"drop.because is missing"});
  expect_problem("[[drop]]\nbecause = \"x\"\n", {"without a condition"});
  expect_problem("[[drop]]\nbecause = \"x\"\nrun.sed = 1\n",
                 {"mine.toml:5: drop.run.sed is unknown; did you mean run.seed?"});
  expect_problem("[[drop]]\nbecause = \"x\"\nrun.seed = {over = 1}\n", {"drop.run.seed.over is unknown"});
  expect_problem("dirr = \"x\"\n", {"mine.toml:3: sweep.dirr is unknown; did you mean sweep.dir?"});
  expect_problem("[grid]\nrun.seed = [1]\n", {"command line: run.seed is fixed, but [grid] sweeps it"},
                 {"run.seed=3"});
  EXPECT_THROW(read_sweep(folder_ / "absent.toml", {}), UserError);
  std::ofstream(folder_ / "baseless.toml") << "[fixed]\nrun.seed = 1\n";
  EXPECT_THROW(read_sweep(folder_ / "baseless.toml", {}), UserError);
}

TEST_F(SweepTest, TheCommandLineSetsWhatAllRunsShare) {
  const SweepRuns found = runs("dir = \"there\"\n[fixed]\ntrain.max_steps = 5\n[grid]\nrun.seed = [1]\n",
                               {"train.max_steps=9", "sweep.dir=here"});
  EXPECT_EQ(found.runs[0].config.train.max_steps, 9);
  EXPECT_EQ(found.runs[0].folder(), "here/seed=1");
  EXPECT_EQ(runs("dir = \"there\"\n").runs[0].folder(), "there/run");
}

TEST_F(SweepTest, ListWithRanksShowsLayoutsAndRefusesWhatDoesNotFit) {
  const std::string text = "[grid]\nparscale.parscale_n = [1, 4]\n[fixed]\ntrain.micro_batch = 2\n";
  const std::string listed = list_text(read(text), runs(text), 4);
  EXPECT_NE(listed.find("parscale_n=1  layout 4x1x1"), std::string::npos) << listed;
  EXPECT_NE(listed.find("parscale_n=4  layout 1x4x1"), std::string::npos) << listed;
  EXPECT_THROW(list_text(read(text), runs(text), 3), UserError);
}

TEST(ShippedSweeps, AreSoundAndFitTheirScripts) {
  const char* source = std::getenv("PSCALE_SOURCE");
  if (!source) GTEST_SKIP() << "PSCALE_SOURCE is not set";
  const std::map<std::string, size_t> expected{{"lr", 12},
                                               {"parscale_scaling", 4},
                                               {"xattn_all_layers", 3},
                                               {"xattn_preset_layers", 3},
                                               {"full_no_xattn", 3},
                                               {"full_with_xattn", 12},
                                               {"full_no_xattn_unfrozen", 4},
                                               {"full_with_xattn_unfrozen", 12},
                                               {"debug_xkv", 6},
                                               {"smoke", 10}};
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(fs::path(source) / "configs/sweeps")) {
    const Sweep sweep = read_sweep(entry.path(), {});
    const SweepRuns runs = expand(sweep);
    found.insert(sweep.name);
    ASSERT_TRUE(expected.contains(sweep.name)) << sweep.name;
    EXPECT_EQ(runs.runs.size(), expected.at(sweep.name)) << sweep.name;
    EXPECT_EQ(sweep.dir, "runs/" + sweep.name);
    for (const SweepRun& run : runs.runs) {
      EXPECT_EQ(run.config.train.max_steps, 2000) << run.name;
      EXPECT_EQ(run.config.optimizer.warmup_steps, 500) << run.name;
      EXPECT_EQ(run.config.parallel.replica, 0) << run.name;
      if (sweep.name == "smoke") continue;
      EXPECT_EQ(run.config.train.global_batch, 128) << run.name;
      EXPECT_EQ(run.config.train.micro_batch, sweep.name.ends_with("_unfrozen") ? 2 : 4) << run.name;
      EXPECT_EQ(run.config.train.freeze_pretrained,
                sweep.name == "full_no_xattn" || sweep.name == "full_with_xattn")
          << run.name;
      for (const int ranks : {1, 2, 4, 8, 16}) {
        const Layout layout = layout_for(run.config, ranks);
        EXPECT_EQ(run.config.model.parscale_n % layout.replica, 0) << run.name;
      }
    }
    std::ifstream script(fs::path(source) / "launch" / cat("sweep_", sweep.name, ".sh"));
    const std::string text{std::istreambuf_iterator<char>(script), {}};
    EXPECT_NE(text.find(cat("--array=0-", runs.runs.size() - 1, "\n")), std::string::npos) << sweep.name;
  }
  EXPECT_EQ(found.size(), expected.size());
}

}  // namespace
}  // namespace pscale
