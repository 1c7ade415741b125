// Files of the safetensors format: 8 bytes header length, JSON header, tensors one after the other. Reading, and
// writing of small files; safetensors_writer.h writes large ones piece by piece.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tensor/dtype.h"

namespace pscale {

class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;           ///< "F32", "BF16", "F16", "F64", "I32", "I64", ...
    std::vector<int64_t> shape;
    std::string_view bytes;      ///< row-major, little-endian; in the map: pages that are touched stay in memory
    int64_t elements() const;
  };

  /// Maps the file and checks its header: every tensor within the file, none over another, none twice. Throws
  /// UserError naming the file, and the tensor where it is one.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) = delete;

  const std::string& path() const { return path_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// Throws UserError naming file and tensor where it is missing.
  const Entry& at(const std::string& name) const;
  /// Bytes [first, first + count) of a tensor, read around the map so that large files take no memory.
  void read(const std::string& name, uint64_t first, uint64_t count, void* out) const;
  /// A floating tensor's values (F32, F64, BF16, F16).
  std::vector<float> floats(const std::string& name) const;
  /// An integer tensor's values (I32).
  std::vector<int32_t> ints(const std::string& name) const;

 private:
  void parse(std::string_view file);

  std::string path_;
  int file_ = -1;
  void* map_ = nullptr;
  size_t bytes_ = 0;
  std::map<std::string, Entry> entries_;
};

/// IEEE 754 half precision; every value has a float32 of its own.
float half_to_float(uint16_t bits);

/// A float32 tensor to be written.
struct SafetensorsValue {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// Writes F32 tensors under a temporary name, then renames. Throws UserError naming the file where that fails.
void write_safetensors(const std::string& path, const std::map<std::string, SafetensorsValue>& tensors);

}  // namespace pscale
