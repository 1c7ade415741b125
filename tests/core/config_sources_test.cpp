// Lists of weighted paths in the typed configuration: data.train and what is like it.
#include <gtest/gtest.h>

#include "core/base/config.h"
#include "core/base/errors.h"

namespace pscale {
namespace {

struct Data {
  WeightedPaths train;
  std::optional<WeightedPaths> validation;
  std::vector<std::string> problems;

  ConfigSection section() {
    ConfigSection s("data");
    s.add("train", train, "Files");
    s.add("validation", validation, "Other files");
    return s;
  }
  void read(const ConfigTable& values) {
    ConfigOrigins origins;
    read_sections({section()}, values, {}, origins, problems);
  }
};

Data data_of(const std::string& toml) {
  Data data;
  data.read(parse_toml("[data]\n" + toml, "a.toml"));
  return data;
}

TEST(ConfigSources, AllSpellingsAreReadAndPrinted) {
  const std::pair<std::string, WeightedPaths> cases[] = {
      {"train = \"a\"", {{"a", {}}}},
      {"train = \"\"", {}},
      {"train = [\"a\"]", {{"a", {}}}},
      {"train = [\"a\", \"b c\"]", {{"a", {}}, {"b c", {}}}},
      {"train = [{path = \"a\"}, \"b\"]", {{"a", {}}, {"b", {}}}},
      {"train = [{path = \"a\", weight = 0.7}, {weight = 2, path = \"b\"}]", {{"a", 0.7}, {"b", 2.0}}},
      {"[[data.train]]\npath = \"a\"\nweight = 1\n[[data.train]]\npath = \"q\\\"\"\nweight = 0.1", {{"a", 1.0}, {"q\"", 0.1}}}};
  for (const auto& [toml, expected] : cases) {
    Data data = data_of(toml);
    EXPECT_TRUE(data.problems.empty()) << toml << ": " << join(data.problems, "; ");
    EXPECT_EQ(data.train, expected) << toml;
    EXPECT_FALSE(data.validation);
    Data again;
    again.read(parse_toml(config_toml({data.section()}), "resolved.toml"));
    EXPECT_EQ(again.train, expected) << config_toml({data.section()});
    EXPECT_TRUE(again.problems.empty());
  }
}

TEST(ConfigSources, OnTheCommandLine) {
  const auto read = [](const std::string& argument) {
    Data data;
    data.read(parse_override(argument));
    EXPECT_TRUE(data.problems.empty()) << join(data.problems, "; ");
    return data;
  };
  EXPECT_EQ(read("data.train=datasets/a").train, (WeightedPaths{{"datasets/a", {}}}));
  EXPECT_EQ(read("data.train=2024").train, (WeightedPaths{{"2024", {}}}));
  EXPECT_EQ(read("data.train=[{path=\"a\",weight=1},{path=\"b\",weight=3}]").train, (WeightedPaths{{"a", 1.0}, {"b", 3.0}}));
  EXPECT_EQ(read("data.validation=[\"a\"]").validation, (WeightedPaths{{"a", {}}}));
  EXPECT_FALSE(read("data.validation=none").validation);
}

TEST(ConfigSources, MistakesNameTheItem) {
  const std::pair<std::string, std::string> cases[] = {
      {"train = 3", "a.toml:2: data.train = 3 must be a path or a list, such as [{path = \"a\", weight = 0.7}, ...]"},
      {"train = {path = \"a\"}", "must be in a list: [{path = \"a\", weight = 1}, ...]"},
      {"train = [\"a\", 3]", "in item 2: must be a path or {path = \"a\", weight = 1}"},
      {"train = [{weight = 1}]", "in item 1: path is missing"},
      {"train = [\"\"]", "in item 1: the path is empty"},
      {"train = [{path = \"a\", weight = 0}]", "in item 1: weight = 0 must be above 0"},
      {"train = [{path = \"a\", weight = inf}]", "in item 1: weight = inf must be finite"},
      {"train = [{path = 1}]", "in item 1: path = 1 must be text in quotes"},
      {"train = [{path = \"a\", wieght = 1}]", "in item 1: wieght is unknown; did you mean weight?"},
      {"train = [\n\"a\",\n{path = \"b\", weight = 1}]", "in item 2 (line 4): all sources have a weight, or none has one"},
      {"train = [\"a\", \"b\", \"a\"]", "in item 3: names a again; give it once, with the sum of the weights"},
      {"validation = [3]", "in item 1: must be a path or {path = \"a\", weight = 1}, or none"}};
  for (const auto& [toml, message] : cases) {
    const Data data = data_of(toml);
    ASSERT_EQ(data.problems.size(), 1u) << toml;
    EXPECT_NE(data.problems[0].find(message), std::string::npos) << data.problems[0];
    EXPECT_TRUE(data.problems[0].starts_with("a.toml:2: data.")) << data.problems[0];
    EXPECT_TRUE(data.train.empty());
  }
}

}  // namespace
}  // namespace pscale
