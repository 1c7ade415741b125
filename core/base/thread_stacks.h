// The stacks of this process's threads, for a report on why it stands still. Linux.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace pscale {

/// A stack of its own for the signal handlers of the thread that makes it (and ends it), so that its frames can be asked for
/// while it computes.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::vector<std::byte> memory_;
  stack_t before_{};
};

/// Prints, thread by thread ("thread 4711", then indented lines, in one call), a line for each frame of each thread that sleeps inside this program's own code; of one that
/// computes only that it does, and of one that waits for a disk in which function of the kernel. `with_signal_stack`: a thread
/// that has a SignalStack, whose frames come last, also while it computes. Threads of libraries are left out, and so is the
/// caller. Functions without a name in the program's dynamic symbols are given as FILE+OFFSET, which addr2line -Cfe FILE OFFSET
/// resolves.
///
/// A thread is asked by a signal (the last real-time one), whose handler notes its stack. oneDNN's generated kernels use the
/// stack pointer for other things, so a handler must not run on top of them.
void print_thread_stacks(pid_t with_signal_stack, const std::function<void(const std::string&)>& print);

}  // namespace pscale
