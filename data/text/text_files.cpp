#include "data/text/text_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "core/base/errors.h"

namespace pscale {
namespace {

namespace fs = std::filesystem;

constexpr size_t kProbe = 8192;

/// A file descriptor open for reading.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) throw UserError(cat(path, ": cannot open: ", std::strerror(errno)));
  }
  ~InputFile() { ::close(file_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Fills `buffer` unless the file ends first; returns the bytes read.
  size_t read(char* buffer, size_t count) {
    size_t done = 0;
    while (done < count) {
      const ssize_t got = ::read(file_, buffer + done, count - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw UserError(cat(path_, ": cannot read: ", std::strerror(errno)));
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  std::string path_;
  int file_;
};

bool is_binary(const std::string& path) {
  char probe[kProbe];
  const size_t got = InputFile(path).read(probe, sizeof probe);
  return std::memchr(probe, 0, got) != nullptr;
}

bool has_suffix(const std::string& path, const std::vector<std::string>& suffixes) {
  if (suffixes.empty()) return true;
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](const std::string& suffix) { return path.ends_with(suffix); });
}

/// Collects files in order, and all that is wrong with them.
class Finder {
 public:
  explicit Finder(const std::vector<std::string>& suffixes) : suffixes_(suffixes) {}

  void take(const std::string& input) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (status.type() == fs::file_type::not_found) {
      problems_.push_back(cat(input, ": no such file or folder"));
    } else if (status.type() == fs::file_type::directory) {
      folder(input);
    } else if (status.type() == fs::file_type::regular) {
      add(input, true);
    } else {
      problems_.push_back(cat(input, ": ", error ? error.message() : "neither a file nor a folder"));
    }
  }

  TextFiles finish(const std::vector<std::string>& inputs) {
    if (problems_.empty() && found_.files.empty())
      problems_.push_back(cat("no text in ", join(inputs, ", "),
                              suffixes_.empty() ? "" : cat(": no file with suffix ", join(suffixes_, ", ")),
                              " (left out: ", found_.binary, " binary and ", found_.empty, " empty files)"));
    if (!problems_.empty()) throw UserError(std::move(problems_));
    return std::move(found_);
  }

 private:
  void folder(const std::string& input) {
    std::vector<std::string> paths;
    std::error_code error;
    fs::recursive_directory_iterator entry(input, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
      if (entry->path().filename().native().starts_with('.')) {
        entry.disable_recursion_pending();
        continue;
      }
      std::error_code ignored;  // a dangling link is no file
      if (entry->is_regular_file(ignored) && has_suffix(entry->path().native(), suffixes_))
        paths.push_back(entry->path().native());
    }
    if (error) problems_.push_back(cat(input, ": cannot list the folder: ", error.message()));
    std::sort(paths.begin(), paths.end());
    for (const std::string& path : paths) add(path, false);
  }

  void add(const std::string& path, bool named) {
    try {
      struct stat status {};
      if (::stat(path.c_str(), &status) != 0)
        throw UserError(cat(path, ": cannot read: ", std::strerror(errno)));
      if (!seen_.insert({status.st_dev, status.st_ino}).second) return;
      if (status.st_size == 0) {
        ++found_.empty;
      } else if (is_binary(path) && !named) {  // is_binary() also tells early that a file cannot be read
        ++found_.binary;
      } else {
        found_.files.push_back({path, status.st_size});
        found_.bytes += status.st_size;
      }
    } catch (const UserError& unreadable) {
      problems_.insert(problems_.end(), unreadable.problems().begin(), unreadable.problems().end());
    }
  }

  const std::vector<std::string>& suffixes_;
  TextFiles found_;
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::vector<std::string> problems_;
};

}  // namespace

TextFiles find_text_files(const std::vector<std::string>& inputs, const std::vector<std::string>& suffixes) {
  Finder finder(suffixes);
  for (const std::string& input : inputs) finder.take(input);
  return finder.finish(inputs);
}

void read_text(const std::string& path, size_t piece, const std::function<void(std::string_view)>& take) {
  InputFile file(path);
  std::vector<char> buffer(piece);
  while (const size_t got = file.read(buffer.data(), piece)) take({buffer.data(), got});
}

}  // namespace pscale
