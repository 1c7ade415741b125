#include "core/base/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"

namespace pscale {
namespace {

struct Engine {
  bool turbo = false;
  int64_t cylinders = 4;
  double litres = 1.5;
  std::string fuel = "petrol";
  std::string name = "";
  std::optional<int64_t> gears;
  std::optional<double> limit;
  std::vector<int64_t> order{1, 3, 4, 2};
  std::vector<std::string> tags;
  std::optional<std::vector<int64_t>> spare;
  double oil = 2;
  double bore = 80;

  ConfigSection section() {
    ConfigSection s("engine");
    s.add("turbo", turbo, "Whether it has a turbo");
    s.add("cylinders", cylinders, "Number of cylinders", between(1, 16));
    s.add("litres", litres, "Displacement", above(0));
    s.add("fuel", fuel, "What it burns", one_of({"petrol", "diesel"}));
    s.add("name", name, "What it is called");
    s.add("gears", gears, "Number of gears", at_least(1));
    s.add("limit", limit, "Revolutions | minute", at_least_below(0, 9000));
    s.add("order", order, "Order of ignition", at_least(1));
    s.add("tags", tags, "Words");
    s.add("spare", spare, "Spare parts");
    ConfigSection& oil_table = s.add_table("oiling", "How it is oiled", {"lubrication"});
    oil_table.add("oil", oil, "Litres of oil", also_called({"amount"}));
    oil_table.add("bore", bore, "Read here, too", only_read());
    return s;
  }
};

struct Wheels {
  int64_t count = 4;
  double radius = 0;
  ConfigSection section() {
    ConfigSection s("wheels");
    s.add("count", count, "How many", at_least(0));
    s.add("radius", radius, "In metres", required(above(0)));
    return s;
  }
};

struct Car {
  Engine engine;
  Wheels wheels;
  ConfigOrigins origins;
  std::vector<std::string> problems;

  void read(const ConfigTable& values, const ConfigHints& hints = {}) {
    read_sections({engine.section(), wheels.section()}, values, hints, origins, problems);
  }
};

const std::string good = "[wheels]\nradius = 0.3\n";

Car car_of(const std::string& toml, const ConfigHints& hints = {}) {
  Car car;
  car.read(parse_toml(toml, "car.toml"), hints);
  return car;
}

/// The only problem of a file; a second one fails the test.
std::string problem_of(const std::string& toml, const ConfigHints& hints = {}) {
  const Car car = car_of(toml, hints);
  EXPECT_EQ(car.problems.size(), 1u) << join(car.problems, "\n");
  return car.problems.empty() ? "" : car.problems[0];
}

TEST(ConfigRead, SetsEveryType) {
  const Car car = car_of(R"([engine]
turbo = true
cylinders = 8
litres = 3
fuel = "diesel"
name = "V8 \"old\""
gears = 6
limit = 6500.5
order = [1, 2]
tags = ["a", "b"]
spare = []
[engine.lubrication]
amount = 7
[wheels]
radius = 1e-1
)");
  EXPECT_EQ(join(car.problems, "\n"), "");
  EXPECT_TRUE(car.engine.turbo);
  EXPECT_EQ(car.engine.cylinders, 8);
  EXPECT_EQ(car.engine.litres, 3.0);
  EXPECT_EQ(car.engine.fuel, "diesel");
  EXPECT_EQ(car.engine.name, "V8 \"old\"");
  EXPECT_EQ(car.engine.gears, 6);
  EXPECT_EQ(car.engine.limit, 6500.5);
  EXPECT_EQ(car.engine.order, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(car.engine.tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(car.engine.spare, std::vector<int64_t>{});
  EXPECT_EQ(car.engine.oil, 7);
  EXPECT_EQ(car.wheels.radius, 0.1);
  EXPECT_EQ(car.origins.name("engine.cylinders"), "car.toml:3: engine.cylinders");
  EXPECT_EQ(car.origins.name("wheels.count"), "wheels.count");
  EXPECT_TRUE(car.origins.given("engine.gears"));
  EXPECT_FALSE(car.origins.given("wheels.count"));
}

TEST(ConfigRead, NamesFileLineAndKeyOfAWrongValue) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"turbo = 1", "engine.turbo = 1 must be true or false"},
      {"cylinders = \"four\"", "engine.cylinders = \"four\" must be an integer"},
      {"cylinders = 4.0", "engine.cylinders = 4.0 must be an integer; write 4"},
      {"cylinders = 17", "engine.cylinders = 17 must be at least 1 and at most 16"},
      {"litres = 0", "engine.litres = 0 must be above 0"},
      {"litres = nan", "engine.litres = nan must be finite"},
      {"litres = true", "engine.litres = true must be a number"},
      {"fuel = \"deisel\"",
       "engine.fuel = \"deisel\" must be one of petrol, diesel; did you mean \"diesel\"?"},
      {"fuel = 3", "engine.fuel = 3 must be text in quotes"},
      {"gears = 0", "engine.gears = 0 must be at least 1"},
      {"gears = \"many\"", "engine.gears = \"many\" must be an integer, or none"},
      {"limit = 9000", "engine.limit = 9000 must be at least 0 and below 9000"},
      {"order = 1", "engine.order = 1 must be a list of integers, such as [0, 2]"},
      {"order = [1, \"a\"]", "engine.order = [1, \"a\"] must be a list of integers, such as [0, 2]"},
      {"order = [1, 0]", "engine.order = [1, 0] in each item must be at least 1"},
      {"tags = \"a\"", "engine.tags = \"a\" must be a list of texts, such as [\"a\", \"b\"]"},
      {"oiling = 3", "engine.oiling = 3 must be a table with oil, bore"},
  };
  for (const auto& [line, expected] : cases)
    EXPECT_EQ(problem_of(good + "[engine]\n# one more line\n" + line), "car.toml:5: " + expected);
}

TEST(ConfigRead, AWrongValueLeavesTheDefault) {
  EXPECT_EQ(car_of(good + "[engine]\ncylinders = 99").engine.cylinders, 4);
  EXPECT_EQ(car_of(good + "[engine]\norder = [0]").engine.order, (std::vector<int64_t>{1, 3, 4, 2}));
}

TEST(ConfigRead, ReportsAllProblemsAtOnce) {
  const Car car =
      car_of("[engine]\ncylinders = 0\nturbo = \"yes\"\nfule = \"petrol\"\n[whels]\nradius = 1\n");
  EXPECT_EQ(car.problems.size(), 5u) << join(car.problems, "\n");
}

TEST(ConfigRead, SuggestsTheNearestKey) {
  EXPECT_EQ(problem_of(good + "[engine]\ncylindres = 3"),
            "car.toml:4: engine.cylindres is unknown; did you mean engine.cylinders?");
  EXPECT_EQ(problem_of(good + "[engine]\ncount = 3"),
            "car.toml:4: engine.count is unknown; did you mean wheels.count?");
  EXPECT_EQ(problem_of(good + "[engine.oiling]\nmount = 3"),
            "car.toml:4: engine.oiling.mount is unknown; did you mean engine.oiling.amount?");
  EXPECT_EQ(problem_of(good + "[engin]\nturbo = true"),
            "car.toml:3: there is no section [engin]; did you mean [engine]?");
  EXPECT_EQ(problem_of("engine = 3\n" + good), "car.toml:1: engine = 3 must be a table: [engine]");
  EXPECT_EQ(problem_of("count = 3\n" + good),
            "car.toml:1: count stands outside any section; did you mean wheels.count?");
  EXPECT_EQ(problem_of(good + "[engine]\nxyzzy = 3"),
            "car.toml:4: engine.xyzzy is unknown; the keys of [engine] are turbo, cylinders, litres, fuel, "
            "name, gears, "
            "limit, order, tags, spare, oiling, lubrication");
  EXPECT_EQ(problem_of(good + "[engine]\ninclude = []"),
            "car.toml:4: engine.include is unknown; include stands at the top of a file, before the first "
            "[section]");
}

TEST(ConfigRead, KnowsKeysOfOtherPrograms) {
  const ConfigHints hints{{{"motor.cyl", "engine.cylinders"}},
                          {{"boot", "cars have none here; take it out"}}};
  EXPECT_EQ(problem_of(good + "[motor]\ncyl = 3", hints),
            "car.toml:4: motor.cyl is unknown; it is called engine.cylinders here");
  EXPECT_EQ(problem_of(good + "[wheels.cyl]\n", hints),
            "car.toml:3: wheels.cyl is unknown; did you mean engine.cylinders?");
  EXPECT_EQ(problem_of(good + "[boot]\nsize = 3", hints),
            "car.toml:3: [boot]: cars have none here; take it out");
}

TEST(ConfigRead, MissingNeededKeysAreProblems) {
  EXPECT_EQ(problem_of(""), "wheels.radius is missing: In metres; it has no default");
}

TEST(ConfigRead, TwoNamesOfAKeyMustAgree) {
  EXPECT_EQ(car_of(good + "[engine.oiling]\noil = 3\namount = 3").problems.size(), 0u);
  EXPECT_EQ(problem_of(good + "[engine.oiling]\noil = 3\namount = 4"),
            "car.toml:5: engine.oiling.amount is the same as engine.oiling.oil, which is given, too; keep "
            "one of them");
}

TEST(ConfigRead, DoubtedKeysSilenceRulesThatNameThem) {
  const Car car = car_of(good + "[engine]\ncylinders = 99\nlitters = 3\n");
  EXPECT_TRUE(car.origins.doubts("car.toml:4: engine.cylinders = 4 must be even"));
  EXPECT_TRUE(car.origins.doubts("engine.litres = 1.5 is too small"));
  EXPECT_FALSE(car.origins.doubts("engine.cylinders_per_row = 2 is odd"));
  EXPECT_FALSE(car.origins.doubts("wheels.count = 3 is odd"));
}

TEST(ConfigOverride, ValuesAreTomlAndBareWordsAreText) {
  Car car;
  ConfigTable values = parse_toml(good + "[engine]\ngears = 5\nlimit = 3.0\n", "car.toml");
  for (const char* argument : {"engine.turbo=true", "engine.cylinders = 6", "engine.litres=2",
                               "engine.fuel=diesel", "engine.name=2024-01-01", "engine.gears=none",
                               "engine.order=[2, 1]", "engine.oiling.oil=9", "engine.tags=[\"a=b\"]"})
    merge(values, parse_override(argument));
  car.read(values);
  EXPECT_EQ(join(car.problems, "\n"), "");
  EXPECT_TRUE(car.engine.turbo);
  EXPECT_EQ(car.engine.cylinders, 6);
  EXPECT_EQ(car.engine.litres, 2);
  EXPECT_EQ(car.engine.fuel, "diesel");
  EXPECT_EQ(car.engine.name, "2024-01-01");
  EXPECT_FALSE(car.engine.gears.has_value());
  EXPECT_EQ(car.engine.limit, 3);
  EXPECT_EQ(car.engine.order, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(car.engine.oil, 9);
  EXPECT_EQ(car.engine.tags, std::vector<std::string>{"a=b"});
  EXPECT_EQ(car.origins.name("engine.turbo"), "command line: engine.turbo");
}

TEST(ConfigOverride, TextMayLookLikeANumberOrHoldAnything) {
  for (const std::string text : {"42", "true", "a b # c", "x=y", "", "1e5", "/data/it's"}) {
    Car car;
    ConfigTable values = parse_toml(good, "car.toml");
    merge(values, parse_override("engine.name=" + text));
    car.read(values);
    EXPECT_EQ(join(car.problems, "\n"), "");
    EXPECT_EQ(car.engine.name, text);
  }
}

TEST(ConfigOverride, MalformedArgumentsSayWhatToWrite) {
  for (const char* argument :
       {"engine.turbo", "turbo=true", "=3", "engine.=3", ".turbo=3", "a..b=3", "a b.c=3"}) {
    try {
      parse_override(argument);
      ADD_FAILURE() << argument << " was taken";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("write section.key=value"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(parse_override("engine.order=[1, 2"), UserError);
  EXPECT_THROW(parse_override("engine.name=\"open"), UserError);
}

TEST(ConfigOverride, ProblemsNameTheCommandLine) {
  Car car;
  ConfigTable values = parse_toml(good, "car.toml");
  merge(values, parse_override("engine.cylinders=many"));
  car.read(values);
  ASSERT_EQ(car.problems.size(), 1u);
  EXPECT_EQ(car.problems[0], "command line: engine.cylinders = \"many\" must be an integer");
}

class ConfigFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) /
        cat("pscale_config_", getpid(), "_", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "parts");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }
  std::filesystem::path folder_;
};

TEST_F(ConfigFiles, LaterSourcesWin) {
  write("parts/a.toml", "[engine]\ncylinders = 1\ngears = 1\nlitres = 1\n");
  write("parts/b.toml", "include = \"a.toml\"\n[engine]\ngears = 2\nlitres = 2\n[wheels]\nradius = 2\n");
  const std::string main =
      write("main.toml", "include = [\"parts/a.toml\", \"parts/b.toml\"]\n[engine]\nlitres = 3\n");
  Car car;
  car.read(read_config_file(main, car.problems));
  EXPECT_EQ(join(car.problems, "\n"), "");
  EXPECT_EQ(car.engine.cylinders, 1);
  EXPECT_EQ(car.engine.gears, 2);
  EXPECT_EQ(car.engine.litres, 3);
  EXPECT_EQ(car.wheels.radius, 2);
  EXPECT_EQ(car.origins.name("engine.gears"), (folder_ / "parts/b.toml").string() + ":3: engine.gears");
}

TEST_F(ConfigFiles, CyclesAreRefused) {
  write("parts/a.toml", "include = [\"../main.toml\"]\n");
  const std::string main = write("main.toml", "\ninclude = [\"parts/a.toml\"]\n");
  std::vector<std::string> problems;
  read_config_file(main, problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems[0].find("parts/a.toml:1: include: "), std::string::npos) << problems[0];
  EXPECT_NE(problems[0].find("includes itself"), std::string::npos) << problems[0];
}

TEST_F(ConfigFiles, WhatCannotBeReadIsReportedWithTheRest) {
  const std::string broken = write("parts/broken.toml", "[engine]\nturbo = = 3\n");
  const std::string main = write("main.toml", "include = [\"nowhere.toml\", \"parts/broken.toml\", 3]\n");
  std::vector<std::string> problems;
  read_config_file(main, problems);
  ASSERT_EQ(problems.size(), 3u) << join(problems, "\n");
  EXPECT_EQ(problems[0], main + ":1: include = 3 must be a list of files");
  EXPECT_EQ(problems[1], cat(main, ":1: include: cannot read ", (folder_ / "nowhere.toml").string(),
                             ": there is no such file"));
  EXPECT_TRUE(problems[2].starts_with(broken + ":2: ")) << problems[2];
}

TEST(ConfigPrint, ResolvedFileReadsBackToTheSame) {
  Car car = car_of(
      good +
      "[engine]\nname = \"tab\\t quote\\\" slash\\\\ \\u0001\"\nlitres = 0.1\ntags = [\"x\"]\ngears = 3\n"
      "[engine.oiling]\noil = 1e-300\n");
  const std::string printed = config_toml({car.engine.section(), car.wheels.section()});
  Car again = car_of(printed);
  EXPECT_EQ(join(again.problems, "\n"), "");
  EXPECT_EQ(config_toml({again.engine.section(), again.wheels.section()}), printed);
  EXPECT_EQ(again.engine.name, car.engine.name);
  EXPECT_EQ(again.engine.oil, 1e-300);
  EXPECT_NE(printed.find("# Number of cylinders (at least 1 and at most 16)\ncylinders = 4\n"),
            std::string::npos);
  EXPECT_NE(printed.find("# limit: none\n"), std::string::npos);
  EXPECT_EQ(printed.find("bore"), std::string::npos);
}

TEST(ConfigPrint, ReferenceListsEveryKey) {
  Car car;
  const std::string reference = config_reference({car.engine.section(), car.wheels.section()});
  for (const char* row :
       {"### [engine]", "| `cylinders` | integer | `4` | Number of cylinders (at least 1 and at most 16) |",
        "| `limit` | number or none | none | Revolutions \\| minute (at least 0 and below 9000) |",
        "### [engine.oiling]", "| `radius` | number | needed | In metres (above 0) |"})
    EXPECT_NE(reference.find(row), std::string::npos) << row << "\n" << reference;
}

TEST(ConfigJson, ReadsWritesAndIgnoresForeignKeys) {
  const std::string text = R"({"cylinders": 3, "foreign": {"a": 1}, "gears": null, "turbo": null, "litres": 2,
    "lubrication": {"amount": 4}})";
  Car car;
  car.engine.gears = 5;
  read_section(car.engine.section(), parse_json(text, "config.json"), UnknownKeys::ignore, {}, car.origins,
               car.problems);
  EXPECT_EQ(join(car.problems, "\n"), "");
  EXPECT_EQ(car.engine.cylinders, 3);
  EXPECT_FALSE(car.engine.gears.has_value());
  EXPECT_FALSE(car.origins.given("engine.turbo"));
  EXPECT_EQ(car.engine.oil, 4);
  nlohmann::ordered_json json;
  write_json(car.engine.section(), json);
  EXPECT_EQ(json["cylinders"], 3);
  EXPECT_TRUE(json["gears"].is_null());
  EXPECT_EQ(json["oiling"]["oil"], 4.0);
  EXPECT_FALSE(json["oiling"].contains("bore"));
}

TEST(ConfigJson, ProblemsNameTheFileAndInnerTablesAreStrict) {
  Car car;
  read_section(car.engine.section(),
               parse_json(R"({"cylinders": "x", "oiling": {"unheard": 1}})", "config.json"),
               UnknownKeys::ignore, {}, car.origins, car.problems);
  ASSERT_EQ(car.problems.size(), 2u);
  EXPECT_EQ(car.problems[0], "config.json: engine.cylinders = \"x\" must be an integer");
  EXPECT_EQ(
      car.problems[1],
      "config.json: engine.oiling.unheard is unknown; the keys of [engine.oiling] are oil, amount, bore");
  try {
    parse_json("{\"a\": 1,\n}", "config.json");
    ADD_FAILURE() << "malformed JSON was taken";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "config.json:2: is not well-formed JSON");
  }
  EXPECT_THROW(parse_json("[1]", "config.json"), UserError);
}

}  // namespace
}  // namespace pscale
