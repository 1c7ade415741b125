#include "data/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/errors.h"

namespace pscale {

MappedFile::MappedFile(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (file_ < 0) throw UserError(cat(path, ": cannot open: ", std::strerror(errno)));
  struct stat status {};
  std::string problem;
  if (::fstat(file_, &status) != 0) {
    problem = std::strerror(errno);
  } else if (!S_ISREG(status.st_mode)) {
    problem = "not a regular file";
  } else if (status.st_size > 0) {
    void* memory = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, file_, 0);
    if (memory == MAP_FAILED) {
      problem = std::strerror(errno);
    } else {
      data_ = static_cast<const unsigned char*>(memory);
      size_ = status.st_size;
    }
  }
  if (problem.empty()) return;
  ::close(file_);
  throw UserError(cat(path, ": cannot read: ", problem));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<unsigned char*>(data_), static_cast<size_t>(size_));
  if (file_ >= 0) ::close(file_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void MappedFile::read(int64_t at, void* to, int64_t count) const {
  for (int64_t done = 0; done < count;) {
    const ssize_t got = ::pread(file_, static_cast<char*>(to) + done, static_cast<size_t>(count - done), at + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw UserError(cat(path_, ": cannot read: ", got < 0 ? std::strerror(errno) : "it has become shorter since it was opened"));
    done += got;
  }
}

}  // namespace pscale
