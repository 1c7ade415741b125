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

 private:
  const unsigned char* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace pscale
