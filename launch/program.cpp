#include "launch/program.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/errors.h"
#include "parallel/comm/mpi_world.h"

namespace pscale {
namespace {

constexpr std::chrono::seconds kPatience{5};

void print(std::vector<std::string> problems) {
  std::cout << std::flush;
  std::string text;
  const int rank = launched_rank();
  if (rank != 0) std::this_thread::sleep_for(kPatience);
  for (std::string& problem : problems) {
    std::replace(problem.begin(), problem.end(), '\n', ' ');
    text += rank == 0 ? cat("error: ", problem, "\n") : cat("error: rank ", rank, ": ", problem, "\n");
  }
  // In one piece, so that the lines of two ranks do not mix.
  std::cerr << text << std::flush;
}

int code_of(const std::function<int()>& body) {
  try {
    const int code = body();
    if (!(std::cout << std::flush)) throw UserError("standard output: cannot write (disk full, or closed?)");
    return code;
  } catch (const UserError& mistake) {
    print(mistake.problems());
    return kExitUserError;
  } catch (const std::bad_alloc&) {
    print({"out of memory"});
  } catch (const std::system_error& failure) {
    const bool no_thread = failure.code() == std::errc::resource_unavailable_try_again;
    print({no_thread ? "a thread cannot be started: out of memory, or beyond the limits of ulimit -u or -v" : failure.what()});
  } catch (const std::exception& failure) {
    print({failure.what()});
  } catch (...) {
    print({"an exception of unknown type"});
  }
  return kExitFailed;
}

}  // namespace

int run_program(const std::function<int()>& body) {
  const int code = code_of(body);
  if (const char* path = std::getenv(kExitCodeFile); path && launched_rank() == 0)
    std::ofstream(path) << code << "\n";
  return code;
}

}  // namespace pscale
