// A safetensors file written piece by piece: the header from what was announced, then the tensors in order. It
// appears under its name only when it is complete and on the disk.
//
// Tensors are laid out as the safetensors library does (wide dtypes first, then by name), so a file that it wrote and
// that is read and written again has the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor/dtype.h"

namespace pscale {

class SafetensorsWriter {
 public:
  struct Item {
    std::string name;
    DType dtype = DType::float32;
    std::vector<int64_t> shape;
    /// Bytes of the tensor.
    int64_t bytes() const;
  };

  /// Opens PATH.partial and writes the header. Throws UserError naming the file, as all functions here do.
  SafetensorsWriter(std::string path, std::vector<Item> items);
  /// Removes PATH.partial unless publish() was called.
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// In the order they must be written.
  const std::vector<Item>& items() const { return items_; }
  /// The next bytes, row-major and little-endian; a tensor may come in any number of pieces.
  void write(const void* bytes, size_t count);
  /// Call when every byte was written: brings the file to the disk and gives it its name.
  void publish();

 private:
  void write_all(const void* bytes, size_t count);
  [[noreturn]] void fail(const char* what) const;

  std::string path_, partial_;
  std::vector<Item> items_;
  int file_ = -1;
  int64_t missing_ = 0;  ///< bytes still to be written
};

}  // namespace pscale
