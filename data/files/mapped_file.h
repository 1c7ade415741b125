// A whole file, mapped for reading. Token files are read through it; nothing is copied until it is used.
#pragma once

#include <cstdint>
#include <string>

namespace pscale {

class MappedFile {
 public:
  /// Throws UserError that names the file and the reason. An empty file has data() == nullptr.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const unsigned char* data() const { return data_; }
  int64_t size() const { return size_; }  ///< bytes
  /// Copies bytes `at` to `at` + `count` - 1, which were there at the start. Throws UserError naming the file where the disk
  /// fails or the file was cut since; reading data() then ends the process.
  void read(int64_t at, void* to, int64_t count) const;

 private:
  std::string path_;
  int file_ = -1;
  const unsigned char* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace pscale
