#include "launch/metrics/console.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "core/base/text.h"

namespace pscale {
namespace {

/// A descriptor of a terminal, -1 if there is none; closes what it opened itself.
class TerminalHandle {
 public:
  TerminalHandle() = default;
  explicit TerminalHandle(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC)) {}
  ~TerminalHandle() {
    if (file_ >= 0) ::close(file_);
  }
  TerminalHandle(const TerminalHandle&) = delete;
  TerminalHandle& operator=(const TerminalHandle&) = delete;
  int file() const { return file_; }

 private:
  int file_ = -1;
};

bool under_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MPI_LOCALRANKID"})
    if (std::getenv(name)) return true;
  return false;
}

int parent_of(int process) {
  std::ifstream status(cat("/proc/", process, "/status"));
  for (std::string line; std::getline(status, line);)
    if (line.rfind("PPid:", 0) == 0) return std::atoi(line.c_str() + 5);
  return 0;
}

/// Path of the output of the nearest ancestor that does not write where we do; empty where none can be seen.
std::string launcher_output() {
  struct stat own {
  }, other{};
  if (::fstat(STDOUT_FILENO, &own) != 0) return {};
  for (int process = parent_of(::getpid()); process > 1; process = parent_of(process)) {
    const std::string path = cat("/proc/", process, "/fd/1");
    if (::stat(path.c_str(), &other) != 0) return {};
    if (other.st_dev != own.st_dev || other.st_ino != own.st_ino) return S_ISCHR(other.st_mode) ? path : "";
  }
  return {};
}

int columns_of(int file) {
  winsize size{};
  return ::ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Console find_console() {
  Console console{&std::cout, false, 80};
  const char* term = std::getenv("TERM");
  if (!::isatty(STDOUT_FILENO) || !term || std::string_view(term) == "dumb") return console;
  if (!under_launcher()) {
    console.rewrites = true;
    console.columns = columns_of(STDOUT_FILENO);
    return console;
  }
  const std::string path = launcher_output();
  if (path.empty()) return console;
  const TerminalHandle terminal(path);
  console.rewrites = terminal.file() >= 0 && ::isatty(terminal.file());
  if (console.rewrites) console.columns = columns_of(terminal.file());
  return console;
}

}  // namespace pscale
