// The stacks of this process's threads, for a report on why it stands still. Linux.
#pragma once

#include <string>

namespace pscale {

/// A line for each frame of each thread that sleeps inside this program's own code; of one that computes only that it
/// does. Threads of libraries are left out, and so is the caller. Functions without a name in the program's dynamic symbols
/// are given as FILE+OFFSET, which addr2line -Cfe FILE OFFSET resolves.
///
/// A thread is asked by a signal (the last real-time one), whose handler notes its stack. Only threads that sleep are:
/// oneDNN's generated kernels use the stack pointer for other things, so a handler must not run on top of them.
std::string thread_stacks();

}  // namespace pscale
