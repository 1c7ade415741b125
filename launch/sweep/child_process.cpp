#include "launch/sweep/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <future>

#include "core/base/errors.h"
#include "launch/program.h"

namespace pscale {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kHeartbeat{30}, kReminder{10}, kPatience{15};
constexpr std::array kStopSignals{SIGTERM, SIGUSR1, SIGINT};

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

struct Pipe {
  Pipe()
      : Pipe([] {
          std::array<int, 2> ends{};
          if (pipe2(ends.data(), O_CLOEXEC) != 0)
            throw UserError(cat("cannot make a pipe: ", std::strerror(errno)));
          return ends;
        }()) {}
  explicit Pipe(std::array<int, 2> ends) : read(ends[0]), write(ends[1]) {}
  Descriptor read, write;
};

/// Blocks signals for its life.
class BlockedSignals {
 public:
  explicit BlockedSignals(std::initializer_list<int> signals) {
    sigemptyset(&set_);
    for (const int s : signals) sigaddset(&set_, s);
    pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  const sigset_t& set() const { return set_; }

 private:
  sigset_t set_, before_;
};

/// Replaces this process, which fork() has just made.
[[noreturn]] void become(const std::vector<std::string>& command, const ChildOptions& options, int out,
                         int err, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);
  if (out >= 0) dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  const std::string why = cat("error: cannot start ", command[0], ": ", std::strerror(errno), "\n");
  if (write(STDERR_FILENO, why.data(), why.size()) < 0) _exit(126);
  _exit(127);
}

/// Text that arrives in pieces, as lines.
class Lines {
 public:
  explicit Lines(const std::function<void(const std::string&)>& on_line) : on_line_(on_line) {}
  ~Lines() {
    if (!rest_.empty() && on_line_) on_line_(rest_);
  }
  void add(const char* text, size_t size) {
    rest_.append(text, size);
    size_t from = 0;
    for (size_t end; (end = rest_.find('\n', from)) != std::string::npos; from = end + 1)
      if (on_line_) on_line_(rest_.substr(from, end - from));
    rest_.erase(0, from);
  }

 private:
  const std::function<void(const std::string&)>& on_line_;
  std::string rest_;
};

void pass_on(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t written = write(STDERR_FILENO, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text += written;
    size -= static_cast<size_t>(written);
  }
}

ChildExit exit_of(int status) {
  ChildExit ended;
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  ended.code = WIFSIGNALED(status) ? 128 + ended.signal : WEXITSTATUS(status);
  return ended;
}

/// The answers to a question that may take long, asked now and then in a thread of its own.
class Inquiry {
 public:
  explicit Inquiry(const std::function<bool(std::stop_token)>& question) : question_(question) {}
  ~Inquiry() { give_up_.request_stop(); }
  void begin() {
    if (question_ && !answer_.valid())
      answer_ = std::async(std::launch::async, question_, give_up_.get_token());
  }
  /// Whether it has been answered with yes since the last time.
  bool said_yes() {
    return answer_.valid() && answer_.wait_for(std::chrono::seconds(0)) == std::future_status::ready &&
           answer_.get();
  }

 private:
  const std::function<bool(std::stop_token)>& question_;
  std::stop_source give_up_;
  std::future<bool> answer_;  // waits for the thread when it is destroyed
};

}  // namespace

void keep_stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : kStopSignals) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

bool stop_is_pending() {
  sigset_t pending;
  return sigpending(&pending) == 0 && std::any_of(kStopSignals.begin(), kStopSignals.end(),
                                                  [&](int s) { return sigismember(&pending, s) == 1; });
}

ChildExit run_child(const std::vector<std::string>& command, const ChildOptions& options) {
  const BlockedSignals blocked{SIGTERM, SIGUSR1, SIGINT, SIGCHLD};
  if (stop_is_pending()) return {.code = kExitRunAgain, .asked_to_stop = true};
  // Not blocking: another thread may take a SIGCHLD between poll and read.
  const Descriptor signals(signalfd(-1, &blocked.set(), SFD_CLOEXEC | SFD_NONBLOCK));
  if (signals.get() < 0) throw UserError(cat("cannot wait for signals: ", std::strerror(errno)));
  Pipe errors;
  const pid_t parent = getpid(), child = fork();
  if (child < 0) throw UserError(cat("cannot start ", command[0], ": ", std::strerror(errno)));
  if (child == 0) become(command, options, -1, errors.write.get(), parent);
  errors.write.close();

  ChildExit ended;
  bool stop = false, remind = false, gone = false;
  Lines lines(options.on_error_line);
  Inquiry should_stop(options.should_stop);
  Clock::time_point beat = Clock::now() + kHeartbeat, reminder;
  const auto ask_to_stop = [&] {
    stop = remind = true;
    reminder = Clock::now() + kReminder;
    if (!gone) kill(child, SIGUSR1);
  };
  std::array<char, 4096> buffer{};
  // The pipe is read to its end once the child is gone, but not for ever: a grandchild may still hold it.
  Clock::time_point give_up = Clock::time_point::max();
  for (;;) {
    std::array<pollfd, 2> waits{{{signals.get(), POLLIN, 0}, {errors.read.get(), POLLIN, 0}}};
    poll(waits.data(), waits.size(), gone ? 100 : 1000);
    if (waits[0].revents & POLLIN) {
      signalfd_siginfo info{};
      if (read(signals.get(), &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGCHLD) {
        // A terminal's Ctrl-C has reached the child already.
        if (info.ssi_signo != SIGINT) {
          ask_to_stop();
        } else {
          stop = true;
          if (info.ssi_code != SI_KERNEL && !gone) kill(child, SIGINT);
        }
      }
    }
    if (waits[1].revents & (POLLIN | POLLHUP)) {
      const ssize_t got = read(errors.read.get(), buffer.data(), buffer.size());
      if (got > 0) {
        pass_on(buffer.data(), static_cast<size_t>(got));
        lines.add(buffer.data(), static_cast<size_t>(got));
      } else if (got == 0) {
        if (gone) break;
        errors.read.close();
      }
    }
    int status = 0;
    if (!gone && waitpid(child, &status, WNOHANG) == child) {
      ended = exit_of(status);
      gone = true;
      give_up = Clock::now() + std::chrono::seconds(2);
    }
    if (gone && (errors.read.get() < 0 || Clock::now() > give_up)) break;
    const Clock::time_point now = Clock::now();
    if (should_stop.said_yes() && !stop) ask_to_stop();
    if (remind && now > reminder) ask_to_stop();
    if (now > beat) {
      if (options.on_minute) options.on_minute();
      if (!stop && !gone) should_stop.begin();
      beat = now + kHeartbeat;
    }
  }
  ended.asked_to_stop = stop;
  // Ranks note a stop and save; one that died of it was still starting. srun and mpirun give 128 + the
  // signal.
  if (stop && (ended.signal == SIGUSR1 || ended.code == 128 + SIGUSR1)) ended.code = kExitRunAgain;
  return ended;
}

std::optional<std::string> output_of(const std::vector<std::string>& command,
                                     const std::stop_token& give_up) {
  Pipe output;
  const pid_t parent = getpid(), child = fork();
  if (child < 0) return std::nullopt;
  if (child == 0) become(command, {}, output.write.get(), output.write.get(), parent);
  output.write.close();
  std::string text;
  const Clock::time_point end = Clock::now() + kPatience;
  for (;;) {
    pollfd wait{output.read.get(), POLLIN, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0 || give_up.stop_requested()) {
      kill(child, SIGKILL);
      break;
    }
    // In slices: whoever gives up sends no signal.
    if (poll(&wait, 1, static_cast<int>(std::min<int64_t>(left, 200))) == 0) continue;
    std::array<char, 4096> buffer{};
    const ssize_t got = read(output.read.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  return text;
}

}  // namespace pscale
