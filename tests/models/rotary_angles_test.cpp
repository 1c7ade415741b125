#include "models/layers/rotary_angles.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/errors.h"

namespace pscale {
namespace {

TEST(RotaryAngles, DefaultIsAPowerOfTheta) {
  const RotaryAngles angles = rotary_angles(10000.0, 8);
  ASSERT_EQ(angles.inverse_frequencies.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(angles.inverse_frequencies[i], std::pow(10.0, -i), 1e-15);
  EXPECT_EQ(angles.attention_factor, 1);
  EXPECT_EQ(rotary_angles(RopeScaling{}, 10000.0, 8, 0).inverse_frequencies, angles.inverse_frequencies);
}

TEST(RotaryAngles, LinearDividesByTheFactor) {
  RopeScaling s{.rope_type = "linear", .factor = 4.0};
  const auto stretched = rotary_angles(s, 10000.0, 8, 4096), plain = rotary_angles(10000.0, 8);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(stretched.inverse_frequencies[i], plain.inverse_frequencies[i] / 4);
}

TEST(RotaryAngles, YarnAndLlama3KeepTheFastestAndDivideTheSlowest) {
  for (const char* type : {"yarn", "llama3"}) {
    RopeScaling s{.rope_type = type, .factor = 8.0, .original_max_position_embeddings = 8192};
    const auto stretched = rotary_angles(s, 500000.0, 128, 65536), plain = rotary_angles(500000.0, 128);
    EXPECT_EQ(stretched.inverse_frequencies.front(), plain.inverse_frequencies.front()) << type;
    EXPECT_NEAR(stretched.inverse_frequencies.back() * 8 / plain.inverse_frequencies.back(), 1, 1e-14)
        << type;
  }
  RopeScaling yarn{.rope_type = "yarn", .factor = 8.0, .original_max_position_embeddings = 8192};
  EXPECT_NEAR(rotary_angles(yarn, 500000.0, 128, 65536).attention_factor, 0.1 * std::log(8.0) + 1, 1e-15);
}

TEST(RotaryAngles, TableHoldsScaledCosAndSinByPosition) {
  RotaryAngles angles{{1.0, 0.25}, 2.0};
  const AngleTable table = angle_table(angles, 3);
  ASSERT_EQ(table.positions, 3);
  ASSERT_EQ(table.half, 2);
  ASSERT_EQ(table.cos.size(), 6u);
  EXPECT_EQ(table.cos[0], 2);
  EXPECT_EQ(table.sin[1], 0);
  EXPECT_EQ(table.cos[2 * 2 + 1], 2 * std::cos(0.5));
  EXPECT_EQ(table.sin[2 * 2 + 0], 2 * std::sin(2.0));
}

TEST(RotaryAngles, AllProblemsAreFoundAtOnce) {
  RopeScaling s{.rope_type = "llama3", .low_freq_factor = 4, .high_freq_factor = 4};
  s.original_max_position_embeddings = 0;
  EXPECT_EQ(rope_scaling_problems(s, -1, 8192).size(), 4u);
  try {
    rotary_angles(s, -1, 8, 8192);
    FAIL() << "accepted";
  } catch (const UserError& error) {
    EXPECT_EQ(error.problems().size(), 4u);
  }
  EXPECT_THROW(rotary_angles(RopeScaling{.rope_type = "longrope"}, 1e4, 8, 8192), UserError);
  EXPECT_THROW(rotary_angles(RopeScaling{.rope_type = "linear"}, 1e4, 8, 8192), UserError);
  EXPECT_TRUE(rope_scaling_problems(RopeScaling{}, 1e4, 0).empty());
  EXPECT_THROW(rotary_angles(1e4, 7), InvariantError);
}

}  // namespace
}  // namespace pscale
