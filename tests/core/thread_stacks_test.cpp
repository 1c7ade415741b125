#include "core/base/thread_stacks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "core/base/text.h"

namespace pscale {
namespace {

std::string stacks(pid_t with_signal_stack) {
  std::string text;
  print_thread_stacks(with_signal_stack, [&](const std::string& part) { text += part; });
  return text;
}

// The lines below the last "thread N...", to the next such line.
std::string of_thread(const std::string& text, pid_t thread) {
  const size_t head = text.rfind(cat("thread ", thread));
  if (head == std::string::npos) return "no such thread";
  const size_t begin = text.find('\n', head) + 1;
  return text.substr(begin, text.find("thread ", begin) - begin);
}

TEST(ThreadStacks, OfAThreadThatComputesOnASignalStack) {
  std::string seen;
  std::atomic<bool> done = false;
  const SignalStack own;
  const pid_t self = gettid();
  std::thread looking([&] {
    seen = stacks(self);
    done = true;
  });
  volatile uint64_t count = 0;
  while (!done) count = count + 1;
  looking.join();
  EXPECT_NE(seen.find(cat("thread ", self, " computes\n")), std::string::npos) << seen;
  const std::string lines = of_thread(seen, self);
  EXPECT_GE(std::count(lines.begin(), lines.end(), '\n'), 3) << seen;
}

TEST(ThreadStacks, OfAThreadThatComputesWithoutOneOnlyThat) {
  std::atomic<bool> done = false;
  std::atomic<pid_t> id = 0;
  std::thread busy([&] {
    id = gettid();
    volatile uint64_t count = 0;
    while (!done) count = count + 1;
  });
  while (id == 0) std::this_thread::yield();
  const std::string seen = stacks(0);
  done = true;
  busy.join();
  EXPECT_NE(seen.find(cat("thread ", id.load(), " computes\n")), std::string::npos) << seen;
  EXPECT_EQ(of_thread(seen, id), "");
}

TEST(ThreadStacks, ItsOwnThreadIsLeftOut) {
  EXPECT_EQ(stacks(0).find(cat("thread ", gettid(), "\n")), std::string::npos);
}

}  // namespace
}  // namespace pscale
