#include "core/base/thread_stacks.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/text.h"

namespace pscale {

namespace {

constexpr int kMostFrames = 64;
constexpr int kOfHandler = 2;  // the handler, and what the kernel returns from it to
constexpr size_t kSignalStackBytes = size_t{64} << 10;
constexpr auto kPatience = std::chrono::seconds(1);

struct Stack {
  void* frames[kMostFrames];
  std::atomic<int> depth = 0;
};

/// The signal carries the address of what it is to fill.
void note_stack(int, siginfo_t* info, void*) {
  if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
  const int before = errno;
  Stack* stack = static_cast<Stack*>(info->si_value.sival_ptr);
  stack->depth = backtrace(stack->frames, kMostFrames);
  errno = before;
}

/// The letter of /proc/PID/stat: S asleep, R running, D waiting for a disk, T stopped; ? where it has ended.
char state_of(int thread) {
  std::ifstream file(cat("/proc/self/task/", thread, "/stat"));
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(") ");
  return name_end == std::string::npos ? '?' : text[name_end + 2];
}

struct Frame {
  std::string function;  ///< empty where it has no name
  std::string place;     ///< FILE+OFFSET
};

Frame describe(void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {"", cat(address)};
  const auto offset = static_cast<char*>(address) - static_cast<char*>(info.dli_fbase);
  Frame frame{"", cat(std::filesystem::path(info.dli_fname).filename().string(), "+0x", std::hex, offset)};
  if (info.dli_sname != nullptr) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), std::free);
    frame.function = status == 0 ? name.get() : info.dli_sname;
  }
  return frame;
}

/// The stack's frames as lines; empty where none of them is ours.
std::string text_of(const Stack& stack, bool always) {
  std::string lines;
  bool ours = always;
  for (int i = kOfHandler; i < stack.depth; ++i) {
    const Frame frame = describe(stack.frames[i]);
    ours = ours || frame.function.starts_with("pscale::") || frame.function == "main";
    lines += cat("    ", frame.function, frame.function.empty() ? "" : "  ", frame.place, "\n");
  }
  return ours ? lines : "";
}

/// What the thread's handler notes, as text.
std::string stack_of(pid_t thread, bool always) {
  auto stack = std::make_unique<Stack>();
  siginfo_t info{};
  info.si_signo = SIGRTMAX;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_value.sival_ptr = stack.get();
  if (syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, SIGRTMAX, &info) != 0) return "";
  const auto start = std::chrono::steady_clock::now();
  while (stack->depth == 0 && std::chrono::steady_clock::now() - start < kPatience)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (stack->depth > 0) return text_of(*stack, always);
  static_cast<void>(stack.release());  // the thread may come to its handler later
  return "";
}

/// State after a moment: a thread that polls runs for an instant.
char settled_state_of(pid_t thread) {
  char state = state_of(thread);
  for (int look = 0; look < 20 && state == 'R'; ++look) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    state = state_of(thread);
  }
  return state;
}

/// The kernel's function that a thread sleeps in.
std::string waits_in(pid_t thread) {
  std::ifstream file(cat("/proc/self/task/", thread, "/wchan"));
  std::string name;
  std::getline(file, name);
  return name.empty() || name == "0" ? "" : cat(" (", name, ")");
}

}  // namespace

SignalStack::SignalStack() : memory_(kSignalStackBytes) {
  const stack_t stack{.ss_sp = memory_.data(), .ss_flags = 0, .ss_size = memory_.size()};
  sigaltstack(&stack, &before_);
}

SignalStack::~SignalStack() { sigaltstack(&before_, nullptr); }

void print_thread_stacks(pid_t with_signal_stack, const std::function<void(const std::string&)>& print) {
  void* one[1];
  backtrace(one, 1);  // loads what it needs, which a handler must not
  struct sigaction action {};
  action.sa_sigaction = note_stack;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGRTMAX, &action, nullptr) != 0) return;
  std::vector<pid_t> threads;
  std::error_code ended;
  for (std::filesystem::directory_iterator it("/proc/self/task", ended), end; !ended && it != end; it.increment(ended))
    if (const int thread = std::atoi(it->path().filename().c_str()); thread != gettid()) threads.push_back(thread);
  // Frames of a thread that computes may lead anywhere: what is sure is printed first.
  std::stable_partition(threads.begin(), threads.end(), [&](pid_t thread) { return thread != with_signal_stack; });
  for (const pid_t thread : threads) {
    const char state = settled_state_of(thread);
    std::string lines;
    if (state == 'D') {
      print(cat("thread ", thread, " waits for a disk or network file system", waits_in(thread), "\n"));
    } else if (state != 'R') {
      if (lines = stack_of(thread, false); !lines.empty()) print(cat("thread ", thread, "\n", lines));
    } else {
      print(cat("thread ", thread, " computes\n"));
      if (thread == with_signal_stack) print(cat("thread ", thread, "\n", stack_of(thread, true)));
    }
  }
}

}  // namespace pscale
