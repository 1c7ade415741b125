// A file that only grows and whose every write reaches the operating system at once, so that a run that dies
// leaves all it had logged. Used by the writers of a run folder; only rank 0 makes them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace pscale {

class AppendFile {
 public:
  enum class Content {
    bytes,
    lines  ///< a last line without its end, torn by a crash, is cut off first
  };

  /// Makes missing folders. Throws UserError that names the file and the reason.
  explicit AppendFile(std::filesystem::path path, Content content = Content::bytes);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  /// Writes all of it or throws UserError (disk full, ...).
  void write(std::string_view bytes);
  const std::filesystem::path& path() const { return path_; }

 private:
  void cut_torn_line();
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace pscale
