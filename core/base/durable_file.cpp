#include "core/base/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/base/errors.h"

namespace pscale {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const fs::path& path, const char* what) {
  throw UserError(cat(path.string(), ": ", what, ": ", std::strerror(errno)));
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) : number_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number_ < 0) fail(path, flags & O_CREAT ? "cannot be made" : "cannot be opened");
  }
  ~Descriptor() { close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

void sync(const fs::path& path, int flags) {
  const Descriptor file(path, flags);
  // Some network file systems cannot sync folders; their renames are synchronous.
  if (fsync(file.number()) != 0 && !(errno == EINVAL && (flags & O_DIRECTORY))) fail(path, "cannot be synced");
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

}  // namespace

void sync_file(const fs::path& file) { sync(file, O_RDONLY); }

void sync_folder(const fs::path& folder) { sync(folder, O_RDONLY | O_DIRECTORY); }

void rename_durably(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) fail(from, cat("cannot be renamed to ", to.string()).c_str());
  sync_folder(folder_of(to));
}

bool exchange_durably(const fs::path& a, const fs::path& b) {
  if (renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) {
    sync_folder(folder_of(b));
    return true;
  }
  if (errno != EINVAL && errno != ENOSYS) fail(a, cat("cannot be exchanged with ", b.string()).c_str());
  return false;
}

void make_folder_durably(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  if (folder.has_parent_path() && folder.parent_path() != folder) make_folder_durably(folder.parent_path());
  if (mkdir(folder.c_str(), 0777) == 0) {
    sync_folder(folder_of(folder));
  } else if (errno != EEXIST) {
    fail(folder, "cannot be made");
  }
}

void write_file_durably(const fs::path& file, std::string_view text) {
  const fs::path partial = file.string() + ".partial";
  {
    const Descriptor out(partial, O_WRONLY | O_CREAT | O_TRUNC);
    for (size_t written = 0; written < text.size();) {
      const ssize_t n = write(out.number(), text.data() + written, text.size() - written);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(partial, "cannot be written");
      written += static_cast<size_t>(n);
    }
    if (fsync(out.number()) != 0) fail(partial, "cannot be synced");
  }
  rename_durably(partial, file);
}

void link_durably(const fs::path& link, const fs::path& target) {
  const fs::path partial = link.string() + ".partial";
  std::error_code ignored;
  fs::remove(partial, ignored);
  if (symlink(target.c_str(), partial.c_str()) != 0) fail(partial, "cannot be made");
  rename_durably(partial, link);
}

std::string read_file(const fs::path& file) {
  const Descriptor in(file, O_RDONLY);
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(in.number(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(file, "cannot be read");
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace pscale
