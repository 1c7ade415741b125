#include "core/base/config_text.h"

#include <gtest/gtest.h>

#include "core/base/config_value.h"

namespace pscale {
namespace {

TEST(ConfigText, NumbersKeepTheirTypeAndBits) {
  EXPECT_EQ(toml_text(10000.0), "10000.0");
  EXPECT_EQ(toml_text(0.1), "0.1");
  for (const double value : {1e-8, 3e-4, 1.0 / 3, 1e300, -5e-324, 123456789.0}) {
    const ConfigTable table = parse_toml("x = " + toml_text(value), "t");
    ASSERT_TRUE(std::holds_alternative<double>(table.find("x")->data)) << toml_text(value);
    EXPECT_EQ(std::get<double>(table.find("x")->data), value);
  }
}

TEST(ConfigText, EditDistanceAndNearest) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(edit_distance("same", "same"), 0);
  EXPECT_EQ(nearest("max_step", {"min_lr_ratio", "max_steps", "micro_batch"}), "max_steps");
  EXPECT_EQ(nearest("lr", {"eps", "dir"}), "");
  EXPECT_EQ(nearest("batch_size", {"bucket_mb", "global_batch", "max_steps"}), "global_batch");
  EXPECT_EQ(nearest("batch", {"seed", "global_batch"}), "global_batch");
}

}  // namespace
}  // namespace pscale
