#include "launch/metrics/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/errors.h"

namespace pscale {

AppendFile::AppendFile(std::filesystem::path path, Content content) : path_(std::move(path)) {
  std::error_code error;
  if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), error);
  if (error)
    throw UserError(cat(path_.parent_path().string(), ": cannot make the folder: ", error.message()));
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail("cannot open");
  if (content != Content::lines) return;
  try {
    cut_torn_line();
  } catch (...) {
    ::close(file_);
    throw;
  }
}

AppendFile::~AppendFile() {
  if (file_ >= 0) ::close(file_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  return *this;
}

void AppendFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AppendFile::cut_torn_line() {
  struct stat status {};
  if (::fstat(file_, &status) != 0) fail("cannot read");
  if (!S_ISREG(status.st_mode)) return;
  off_t end = status.st_size;
  char block[4096];
  while (end > 0) {
    const off_t start = std::max<off_t>(0, end - static_cast<off_t>(sizeof block));
    const ssize_t got = ::pread(file_, block, static_cast<size_t>(end - start), start);
    if (got != end - start) fail("cannot read");
    const std::string_view text(block, static_cast<size_t>(got));
    if (const size_t line_end = text.rfind('\n'); line_end != std::string_view::npos) {
      end = start + static_cast<off_t>(line_end) + 1;
      break;
    }
    end = start;
  }
  if (end < status.st_size && ::ftruncate(file_, end) != 0) fail("cannot cut off the torn last line");
}

void AppendFile::fail(const char* what) const {
  throw UserError(cat(path_.string(), ": ", what, ": ", std::strerror(errno)));
}

}  // namespace pscale
