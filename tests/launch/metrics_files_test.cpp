#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/errors.h"
#include "launch/metrics/append_file.h"
#include "launch/metrics/crc32c.h"
#include "launch/metrics/progress.h"
#include "launch/metrics/run_log.h"
#include "launch/metrics/tensorboard.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

class MetricsFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / cat("pscale_metrics_", ::getpid(), "_", test->name());
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static MetricsRow row(int64_t step) {
    MetricsRow r;
    r.step = step;
    r.time = 1.7e9 + static_cast<double>(step);
    r.loss = 1.0 / static_cast<double>(step);
    r.step_seconds = 2;
    return r;
  }
  fs::path folder_;
};

TEST(Crc32c, KnownAnswers) {
  // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(masked_crc32c(""), 0xa282ead8u);
}

TEST(TensorBoard, EventBytes) {
  // wall_time 1.0, step 300, one value {tag "a", simple_value 1.0}
  EXPECT_EQ(scalar_event(1.0, 300, {{"a", 1.0}}),
            std::string("\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01"
                        "a\x15\0\0\x80\x3f",
                        24));
  const std::string record = tfrecord("abc");
  EXPECT_EQ(record.size(), 8u + 4 + 3 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\x03\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 3), "abc");
}

TEST_F(MetricsFiles, AppendsAndCutsATornLine) {
  const fs::path path = folder_ / "deep" / "file.txt";
  AppendFile(path, AppendFile::Content::lines).write("one\ntwo");
  EXPECT_EQ(read(path), "one\ntwo");
  AppendFile(path, AppendFile::Content::lines).write("three\n");
  EXPECT_EQ(read(path), "one\nthree\n");
  AppendFile(path).write("rest");
  EXPECT_EQ(read(path), "one\nthree\nrest");
}

TEST_F(MetricsFiles, CutsALongTornLine) {
  const fs::path path = folder_ / "file.txt";
  AppendFile(path).write("one\n" + std::string(10000, 'x'));
  AppendFile(path, AppendFile::Content::lines).write("two\n");
  EXPECT_EQ(read(path), "one\ntwo\n");
  AppendFile(folder_ / "only.txt").write(std::string(5000, 'x'));
  AppendFile(folder_ / "only.txt", AppendFile::Content::lines).write("a\n");
  EXPECT_EQ(read(folder_ / "only.txt"), "a\n");
}

TEST_F(MetricsFiles, NamesWhatItCannotOpen) {
  fs::create_directories(folder_ / "metrics.jsonl");
  try {
    RunLog({.folder = folder_, .max_steps = 1, .console = {}});
    FAIL() << "opened a folder";
  } catch (const UserError& error) {
    EXPECT_NE(error.problems()[0].find((folder_ / "metrics.jsonl").string()), std::string::npos);
  }
}

TEST_F(MetricsFiles, SaysThatTheDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  AppendFile full("/dev/full", AppendFile::Content::lines);
  EXPECT_THROW(full.write("x"), UserError);
}

TEST_F(MetricsFiles, RunLogWritesEveryFileAtOnce) {
  std::ostringstream out;
  RunLog log({.folder = folder_, .max_steps = 10, .console = {&out, false, 80}});
  log.message("hello");
  log.step(row(1), true);
  log.step(row(2), false);
  log.step(row(3), true);

  // Nothing is closed yet: each line must be in the file already.
  std::istringstream lines(read(folder_ / "metrics.jsonl"));
  std::vector<int64_t> steps;
  for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line)["step"]);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 3}));

  EXPECT_EQ(out.str(),
            "hello\n"
            "step 1/10 | loss 1.000000 | 2 s/step | eta 18s\n"
            "step 3/10 | loss 0.333333 | 2 s/step | eta 14s\n");
  const std::string text = read(folder_ / "log.txt");
  EXPECT_NE(text.find(" hello\n"), std::string::npos);
  EXPECT_NE(text.find(format_time(row(3).time) + " step 3/10 | loss 0.333333"), std::string::npos);
  EXPECT_EQ(text.find("step 2/10"), std::string::npos);

  int events = 0;
  for (const auto& entry : fs::directory_iterator(folder_))
    events += entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0;
  EXPECT_EQ(events, 1);
}

TEST_F(MetricsFiles, WithoutTensorBoardThereAreNoEvents) {
  RunLog log({.folder = folder_, .tensorboard = false, .max_steps = 1, .console = {}});
  log.step(row(1), true);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 2);
}

TEST(RunProgress, RewritesOneLineOnATerminal) {
  std::ostringstream out;
  MetricsRow r;
  r.loss = 2;
  {
    RunProgress progress({&out, true, 80}, std::nullopt, 3);
    r.step = 1;
    progress.step(r, false);
    progress.message("note", 0);
    r.step = 2;
    progress.step(r, true);
  }
  EXPECT_EQ(out.str(),
            "\rstep 1/3  loss 2.0000\x1b[K"
            "\r\x1b[Knote\nstep 1/3  loss 2.0000"
            "\rstep 2/3  loss 2.0000\x1b[K\n");
}

TEST(RunProgress, AMessageBeforeTheFirstStepIsAPlainLine) {
  std::ostringstream out;
  { RunProgress({&out, true, 80}, std::nullopt, 3).message("note", 0); }
  EXPECT_EQ(out.str(), "note\n");
}

TEST(RunProgress, WithoutAConsoleNothingIsShown) {
  RunProgress progress({}, std::nullopt, 3);
  MetricsRow r;
  r.step = 1;
  EXPECT_NO_THROW(progress.step(r, true));
  EXPECT_NO_THROW(progress.message("note", 0));
}

}  // namespace
}  // namespace pscale
