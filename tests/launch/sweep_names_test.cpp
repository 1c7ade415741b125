#include <gtest/gtest.h>

#include "core/base/config_value.h"
#include "core/base/text.h"
#include "launch/sweep/run_name.h"

namespace pscale {
namespace {

ConfigValue value(const std::string& toml) { return *parse_toml("x = " + toml + "\n", "").find("x"); }
std::string name(const std::string& toml) { return name_of_value(value(toml)); }

TEST(RunName, ValuesAreShortAndReadable) {
  EXPECT_EQ(name("4"), "4");
  EXPECT_EQ(name("3e-4"), "3e-4");
  EXPECT_EQ(name("0.0003"), "3e-4");
  EXPECT_EQ(name("1e-10"), "1e-10");
  EXPECT_EQ(name("1.5e-3"), "0.0015");
  EXPECT_EQ(name("0.5"), "0.5");
  EXPECT_EQ(name("100.0"), "100");
  EXPECT_EQ(name("1e6"), "1e6");
  EXPECT_EQ(name("-2e-5"), "-2e-5");
  EXPECT_EQ(name("true"), "true");
  EXPECT_EQ(name("\"cosine\""), "cosine");
  EXPECT_EQ(name("[0, 6, 12, 18]"), "0-6-12-18");
  EXPECT_EQ(name("[]"), "empty");
  EXPECT_EQ(name("\"\""), "empty");
}

TEST(RunName, WhatAFileSystemWouldNotTakeBecomesAHash) {
  const std::string path = name("\"/data/pile part\"");
  EXPECT_EQ(path.substr(0, 10), "pile-part-");
  EXPECT_EQ(path.size(), 18u);
  EXPECT_NE(path, name("\"/other/pile part\""));
  EXPECT_NE(name("\"a:b\""), name("\"a?b\""));
  EXPECT_EQ(name("\"a:b\""), name("\"a:b\""));
  EXPECT_LE(name(cat("\"", std::string(500, 'a'), "\"")).size(), 48u);
}

TEST(RunName, KeysAreTheirLastPartsWhereThatIsEnough) {
  EXPECT_EQ(
      name_of_run("", {{"parscale.parscale_n", value("4")}, {"optimizer.learning_rate", value("3e-4")}}),
      "parscale_n=4,learning_rate=3e-4");
  EXPECT_EQ(name_of_run("frozen", {{"a.interval", value("1")}, {"b.interval", value("2")}}),
            "frozen,a.interval=1,b.interval=2");
  EXPECT_EQ(name_of_run("", {}), "run");
}

TEST(RunName, ALongNameIsCutAndHashedAndStaysDifferent) {
  std::vector<std::pair<std::string, ConfigValue>> values;
  for (int i = 0; i < 12; ++i) values.emplace_back(cat("section.some_long_key_", i), value(cat(i)));
  const std::string one = name_of_run("", values);
  EXPECT_EQ(one.size(), 120u);
  values.back().second = value("99");
  EXPECT_NE(name_of_run("", values), one);
  EXPECT_EQ(name_of_run("", values).substr(0, 100), one.substr(0, 100));
}

}  // namespace
}  // namespace pscale
