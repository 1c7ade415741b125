#include "launch/train/loss_window.h"

#include <gtest/gtest.h>

#include <cmath>

namespace pscale {
namespace {

TEST(LossWindow, LimitIsMeanAndDeviations) {
  LossWindow window(2.0, 4, {});
  for (const double loss : {9.0, 1.0, 2.0, 3.0}) {
    EXPECT_TRUE(std::isinf(window.limit()));
    window.add(loss);
  }
  window.add(4.0);  // 9 has left: mean 2.5, variance 1.25
  EXPECT_EQ(window.limit(), 2.5 + 2 * std::sqrt(1.25));
  EXPECT_EQ(window.losses(), (std::vector<double>{1, 2, 3, 4}));
}

TEST(LossWindow, GoesOnFromWhatItWas) {
  LossWindow window(3.0, 3, {5, 1, 2, 4});
  EXPECT_EQ(window.losses(), (std::vector<double>{1, 2, 4}));
  EXPECT_EQ(window.limit(), LossWindow(3.0, 3, window.losses()).limit());
}

TEST(LossWindow, SaysNothingWithoutARuleOrAboutEqualLosses) {
  EXPECT_TRUE(std::isinf(LossWindow(std::nullopt, 2, {1, 2}).limit()));
  EXPECT_TRUE(LossWindow(std::nullopt, 2, {1, 2}).losses().empty());
  EXPECT_TRUE(std::isinf(LossWindow(1.0, 2, {3, 3}).limit()));
}

}  // namespace
}  // namespace pscale
