#include "launch/program.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "core/base/errors.h"

namespace pscale {
namespace {

struct Outcome {
  int code;
  std::string printed;
};

Outcome outcome_of(const std::function<int()>& body) {
  ::testing::internal::CaptureStderr();
  const int code = run_program(body);
  return {code, ::testing::internal::GetCapturedStderr()};
}

TEST(RunProgram, PassesOnWhatTheBodyReturns) {
  for (const int code : {kExitDone, kExitFailed, kExitRunAgain}) {
    const Outcome outcome = outcome_of([&] { return code; });
    EXPECT_EQ(outcome.code, code);
    EXPECT_EQ(outcome.printed, "");
  }
}

TEST(RunProgram, OneLinePerProblemOfTheUser) {
  const Outcome outcome = outcome_of([]() -> int {
    throw UserError(std::vector<std::string>{"one", "two\nlines", "three"});
  });
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.printed, "error: one\nerror: two lines\nerror: three\n");
}

TEST(RunProgram, EverythingElseIsOne) {
  const Outcome invariant = outcome_of([]() -> int {
    PSCALE_CHECK(1 == 2, "numbers");
    return 0;
  });
  EXPECT_EQ(invariant.code, 1);
  EXPECT_NE(invariant.printed.find("error: "), std::string::npos);
  EXPECT_NE(invariant.printed.find("1 == 2"), std::string::npos);
  EXPECT_EQ(outcome_of([]() -> int { throw std::runtime_error("what"); }).printed, "error: what\n");
  EXPECT_EQ(outcome_of([]() -> int { throw std::bad_alloc(); }).printed, "error: out of memory\n");
  const Outcome unknown = outcome_of([]() -> int { throw 3; });
  EXPECT_EQ(unknown.code, 1);
  EXPECT_EQ(unknown.printed, "error: an exception of unknown type\n");
}

}  // namespace
}  // namespace pscale
