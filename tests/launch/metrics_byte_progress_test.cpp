#include "launch/metrics/byte_progress.h"

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <thread>

namespace pscale {
namespace {

/// The line that is shown a moment after the start.
std::string shown(int64_t total) {
  std::ostringstream out;
  {
    ByteProgress progress(total, Console{&out, true, 80});
    progress.show(1);  // too early
    EXPECT_EQ(out.str(), "");
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
    progress.show(3 << 20, "7 tokens");
  }
  EXPECT_TRUE(out.str().ends_with("\r\x1b[K"));
  return out.str();
}

TEST(ByteProgress, ShowsTheRateAndTheTimeLeft) {
  const std::string line = shown(6 << 20);
  EXPECT_TRUE(line.starts_with("\r3.00 MiB of 6.00 MiB  7 tokens  ")) << line;
  EXPECT_NE(line.find("MiB/s  eta 0s"), std::string::npos) << line;
}

TEST(ByteProgress, ShowsNoTimeLeftWhereTheTotalIsNotKnown) {
  const std::string line = shown(-1);
  EXPECT_TRUE(line.starts_with("\r3.00 MiB  7 tokens  ")) << line;
  EXPECT_NE(line.find("MiB/s\x1b"), std::string::npos) << line;
}

}  // namespace
}  // namespace pscale
