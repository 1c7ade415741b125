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
  /// What was written so far, in bytes.
  int64_t size() const { return written_ + static_cast<int64_t>(buffer_.size()); }
  /// Takes back all behind the first `size` bytes.
  void truncate(int64_t size);
  /// Reads, or writes over, bytes that were written before.
  void read_back(int64_t at, void* bytes, size_t count);
  void write_over(int64_t at, const void* bytes, size_t count);
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
  int64_t written_ = 0;  // without the buffer
};

/// Brings the names in the folder of `path` to the disk.
void sync_folder_of(const std::string& path);

}  // namespace pscale
