// A file that appears under its name only when it is complete: written beside it as NAME.partial, brought to
// the disk, then renamed. Used by the writers of this folder's formats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pscale {

class OutputFile {
 public:
  /// Makes missing folders and opens PATH.partial, over what an interrupted program left. Throws UserError,
  /// also where another program is writing the same file.
  explicit OutputFile(std::string path);
  /// Removes PATH.partial unless publish() was called.
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  /// Appends; writes to the system in large blocks. Throws UserError (disk full, ...).
  void write(const void* bytes, size_t count);
  template <class T>
  void write_value(const T& value) {
    write(&value, sizeof value);
  }
  /// Waits until all that was written is on the disk.
  void sync();
  /// sync(), then gives the file its name; what had it before is gone. Nothing may be written afterwards.
  void publish();

  const std::string& path() const { return path_; }

 private:
  void flush();
  [[noreturn]] void fail(const char* what) const;

  std::string path_, partial_;
  std::vector<unsigned char> buffer_;
  int file_ = -1;
};

/// Brings the names in the folder of `path` to the disk.
void sync_folder_of(const std::string& path);

}  // namespace pscale
