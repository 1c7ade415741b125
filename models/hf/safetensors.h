// Files of the safetensors format (8 bytes header length, JSON header, tensors): reading by memory map, and writing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pscale {

class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;           ///< "F32", "BF16", "F16", "F64", "I32", "I64", ...
    std::vector<int64_t> shape;
    std::string_view bytes;      ///< row-major, little-endian
    int64_t elements() const;
  };

  /// Maps the file. Throws UserError naming it where it is missing, cut short or not safetensors.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&& other) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) = delete;

  const std::map<std::string, Entry>& entries() const { return entries_; }
  bool contains(const std::string& name) const { return entries_.contains(name); }
  /// Throws UserError naming file and tensor where it is missing.
  const Entry& at(const std::string& name) const;
  /// A floating tensor's values (F32, F64, BF16).
  std::vector<float> floats(const std::string& name) const;
  /// An integer tensor's values (I32).
  std::vector<int32_t> ints(const std::string& name) const;

 private:
  std::string path_;
  void* map_ = nullptr;
  size_t bytes_ = 0;
  std::map<std::string, Entry> entries_;
};

/// A float32 tensor to be written.
struct SafetensorsValue {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// Writes F32 tensors under a temporary name, then renames. Throws UserError naming the file where that fails.
void write_safetensors(const std::string& path, const std::map<std::string, SafetensorsValue>& tensors);

}  // namespace pscale
