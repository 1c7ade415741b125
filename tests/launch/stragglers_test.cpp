#include "launch/train/stragglers.h"

#include <gtest/gtest.h>

namespace pscale {
namespace {

TEST(Stragglers, NamesTheSlowestRankAndTheAxisThatWaited) {
  // Groups of 2x1x2: tensor, data, data+tensor. Each rank: own seconds, then those waited over each.
  const std::vector<double> ranks = {2, 1, 0, 3,   //
                                     8, 0, 0, 0,   //
                                     4, 0, 5, 1,   //
                                     3, 0, 4, 2};
  const Layout layout{2, 1, 2};
  ASSERT_EQ(layout.groups().size(), 3u);
  const Stragglers found = find_stragglers(layout, ranks, 2);
  EXPECT_EQ(found.slowest, 4);
  EXPECT_EQ(found.slowest_rank, 1);
  EXPECT_EQ(found.median, 1.75);
  EXPECT_EQ(found.waited_axes, layout.groups()[1].name());
  EXPECT_EQ(found.waited_seconds, 9.0 / 2 / 4);
}

TEST(Stragglers, OfTwoRanksTheMedianIsTheMean) {
  const Stragglers found = find_stragglers(Layout{1, 2, 1}, std::vector<double>{1, 2, 3, 0}, 1);
  EXPECT_EQ(found.median, 2);
  EXPECT_EQ(found.slowest_rank, 1);
  EXPECT_EQ(found.waited_axes, "replica");
}

}  // namespace
}  // namespace pscale
