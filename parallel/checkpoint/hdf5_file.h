// HDF5 (serial) as checkpoints use it: handles that close themselves, contiguous datasets, virtual datasets. File locks
// are off (Lustre and NFS often have none). One thread at a time.
#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor/tensor.h"
#include "parallel/mesh/placement.h"

namespace pscale {

/// An HDF5 identifier and the function that closes it.
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Hdf5Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t id() const { return id_; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// A part of a virtual dataset: dataset `dataset` of `file` (relative to the virtual file) fills `slab` of the tensor.
struct VirtualPart {
  std::string file, dataset;
  Hyperslab slab;
};

class Hdf5File {
 public:
  enum class Mode : uint8_t { create, read };
  /// Throws UserError naming the file and what HDF5 says, as all that follows does.
  Hdf5File(const std::filesystem::path& path, Mode mode);
  ~Hdf5File();
  Hdf5File(const Hdf5File&) = delete;
  Hdf5File& operator=(const Hdf5File&) = delete;

  /// Writes a dataset of its own, contiguous; groups in its name ("exp_avg/NAME") are made. `data`: row-major.
  void write(const std::string& dataset, DType dtype, const Shape& shape, const void* data);
  /// Makes a dataset of `file_shape` whose elements lie in other files. `shape`: the tensor as the parts' slabs count it,
  /// the same elements in the same order, but for the last two dims, which a file may show as one. What no part fills
  /// reads as NaN.
  void write_virtual(const std::string& dataset, DType dtype, const Shape& shape, const Shape& file_shape,
                     const std::vector<VirtualPart>& parts);
  /// Place of a contiguous dataset in the file, in bytes.
  int64_t offset(const std::string& dataset);
  /// Rows [first, first + count) of dim 0, in `dtype`.
  void read_rows(const std::string& dataset, DType dtype, int64_t first, int64_t count, void* out);
  /// After writing: only now is it known that all could be written.
  void close();

 private:
  [[noreturn]] void fail(const std::string& what) const;
  hid_t checked(hid_t id, const std::string& what) const;
  std::filesystem::path path_;
  Hdf5Handle file_;
};

/// "HDF5 1.10.8", of the library that is linked.
std::string hdf5_version();

}  // namespace pscale
