#include "data/files/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/base/errors.h"

namespace pscale {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

}  // namespace

OutputFile::OutputFile(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) throw UserError(cat(folder.string(), ": cannot make the folder: ", error.message()));
  file_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) throw UserError(cat(partial_, ": cannot open: ", std::strerror(errno)));
  // The other program may have published the file between our open and our lock: then it is no longer
  // partial.
  struct stat opened {
  }, named{};
  const bool ours = ::flock(file_, LOCK_EX | LOCK_NB) == 0 && ::fstat(file_, &opened) == 0 &&
                    ::stat(partial_.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
  if (!ours || ::ftruncate(file_, 0) != 0) {
    const std::string reason =
        ours ? std::strerror(errno) : "another program is writing it; wait for it or stop it";
    ::close(std::exchange(file_, -1));
    throw UserError(cat(partial_, ": ", reason));
  }
  buffer_.reserve(kBlock);
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  ::unlink(partial_.c_str());
  ::close(file_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      buffer_(std::move(other.buffer_)),
      file_(std::exchange(other.file_, -1)),
      written_(other.written_) {}

void OutputFile::write(const void* bytes, size_t count) {
  const auto* from = static_cast<const unsigned char*>(bytes);
  while (count > 0) {
    const size_t part = std::min(count, kBlock - buffer_.size());
    buffer_.insert(buffer_.end(), from, from + part);
    from += part;
    count -= part;
    if (buffer_.size() == kBlock) flush();
  }
}

void OutputFile::flush() {
  PSCALE_CHECK(file_ >= 0, partial_, " is closed");
  for (size_t done = 0; done < buffer_.size();) {
    const ssize_t written = ::write(file_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write");
    done += static_cast<size_t>(written);
  }
  written_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
}

void OutputFile::truncate(int64_t size) {
  PSCALE_CHECK(size >= 0 && size <= this->size(), size, " of ", this->size());
  if (size >= written_) {
    buffer_.resize(static_cast<size_t>(size - written_));
    return;
  }
  buffer_.clear();
  if (::ftruncate(file_, size) != 0 || ::lseek(file_, size, SEEK_SET) < 0) fail("cannot be cut");
  written_ = size;
}

void OutputFile::read_back(int64_t at, void* bytes, size_t count) {
  flush();
  for (auto* to = static_cast<unsigned char*>(bytes); count > 0;) {
    const ssize_t got = ::pread(file_, to, count, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read");
    PSCALE_CHECK(got > 0, partial_, " ends before byte ", at);
    to += got;
    at += got;
    count -= static_cast<size_t>(got);
  }
}

void OutputFile::write_over(int64_t at, const void* bytes, size_t count) {
  flush();
  PSCALE_CHECK(at >= 0 && at + static_cast<int64_t>(count) <= written_, at, " + ", count, " of ", written_);
  for (const auto* from = static_cast<const unsigned char*>(bytes); count > 0;) {
    const ssize_t written = ::pwrite(file_, from, count, at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot write");
    from += written;
    at += written;
    count -= static_cast<size_t>(written);
  }
}

void OutputFile::sync() {
  flush();
  if (::fsync(file_) != 0) fail("cannot write");
}

void OutputFile::publish() {
  sync();
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail("cannot rename to its final name");
  if (::close(std::exchange(file_, -1)) != 0) fail("cannot write");
}

void OutputFile::fail(const char* what) const {
  throw UserError(cat(partial_, ": ", what, ": ", std::strerror(errno)));
}

void sync_folder_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) throw UserError(cat(folder, ": cannot open: ", std::strerror(errno)));
  // Some network file systems refuse to sync a folder; its names are then theirs to keep.
  const bool failed = ::fsync(file) != 0 && errno != EINVAL && errno != ENOTSUP;
  const int reason = errno;
  ::close(file);
  if (failed) throw UserError(cat(folder, ": cannot write: ", std::strerror(reason)));
}

}  // namespace pscale
