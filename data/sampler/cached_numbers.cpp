#include "data/sampler/cached_numbers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/files/output_file.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMagic = 0x3130584449435350;  // "PSCIDX01"

struct Header {
  uint64_t magic = kMagic;
  uint64_t key = 0, count = 0, hash = 0;
  bool operator==(const Header&) const = default;
};

/// One process at a time; others wait. Does nothing where the file system has no locks.
class Lock {
 public:
  explicit Lock(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (file_ < 0) return;
    while (::flock(file_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~Lock() {
    if (file_ >= 0) ::close(file_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int file_;
};

}  // namespace

CachedNumbers::CachedNumbers(const std::string& path, uint64_t key, size_t count,
                             const std::function<std::vector<int64_t>()>& compute) {
  if (read(path, key, count)) return;
  const fs::path folder = fs::path(path).parent_path();
  std::error_code ignored;
  fs::create_directory(folder, ignored);
  const Lock lock(folder / "lock");
  if (read(path, key, count)) return;  // made while this process waited
  own_ = compute();
  PSCALE_CHECK(own_.size() == count, own_.size(), " of ", count);
  try {
    OutputFile file(path);
    file.write_value(Header{kMagic, key, count, hash_of(own_.data(), count * sizeof(int64_t))});
    file.write(own_.data(), count * sizeof(int64_t));
    file.publish();
    if (read(path, key, count)) {
      own_ = {};
      return;
    }
  } catch (const UserError&) {
    // A full disk, or a folder that may only be read: the run goes on without.
  }
  numbers_ = own_.data();
}

bool CachedNumbers::read(const std::string& path, uint64_t key, size_t count) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return false;
  std::unique_ptr<MappedFile> file;
  try {
    file = std::make_unique<MappedFile>(path);
  } catch (const UserError&) {
    return false;
  }
  const size_t bytes = count * sizeof(int64_t);
  if (static_cast<size_t>(file->size()) != sizeof(Header) + bytes) return false;
  Header found;
  std::memcpy(&found, file->data(), sizeof found);
  const unsigned char* numbers = file->data() + sizeof(Header);
  if (!(found == Header{kMagic, key, count, hash_of(numbers, bytes)})) return false;
  file_ = std::move(file);
  numbers_ = reinterpret_cast<const int64_t*>(numbers);  // a mapping is aligned
  return true;
}

std::string cache_path(const std::string& prefix, const std::string& what, uint64_t key) {
  return cat(prefix, ".cache/", what, "-", to_hex(key), ".index");
}

}  // namespace pscale
