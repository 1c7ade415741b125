// A tensor: shared memory on a device, a shape, and the distance between rows.
//
// The last dim is always dense. `row_stride` is the distance between consecutive rows (all leading dims
// flattened); it exceeds the last dim only in a view made by `columns`, which is how one matrix holds packed
// keys and values. Copies share memory. Nothing here computes: see core/ops.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor/device.h"
#include "core/tensor/dtype.h"

namespace pscale {

using Shape = std::vector<int64_t>;
int64_t elements_of(const Shape& shape);
std::string to_string(const Shape& shape);  ///< "[2, 3]"

class Tensor {
 public:
  Tensor() = default;  ///< undefined: no memory

  static Tensor empty(const Device& device, Shape shape, DType dtype, MemoryKind kind = MemoryKind::activations);
  static Tensor zeros(const Device& device, Shape shape, DType dtype, MemoryKind kind = MemoryKind::activations);
  /// Same device and dtype as `like`, contiguous, not initialized.
  static Tensor empty_like(const Tensor& like, MemoryKind kind = MemoryKind::activations);

  bool defined() const { return storage_ != nullptr; }
  const Device& device() const { return *storage_->device; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  /// Size of a dim; negative dims count from the last.
  int64_t size(int dim) const;
  int64_t elements() const { return elements_of(shape_); }
  int64_t bytes() const { return elements() * size_of(dtype_); }
  int64_t columns() const { return shape_.empty() ? 1 : shape_.back(); }  ///< size of the last dim
  int64_t rows() const;                                                    ///< product of the others
  int64_t row_stride() const { return row_stride_; }                       ///< in elements
  bool contiguous() const { return row_stride_ == columns() || rows() == 1; }
  /// Whether no other tensor shares this memory, so that it may be overwritten.
  bool sole_owner() const { return storage_.use_count() == 1; }
  bool shares_memory_with(const Tensor& other) const { return storage_ == other.storage_; }

  /// First element. The type must match the dtype, or be void/byte.
  template <class T>
  T* data() const {
    if constexpr (!std::is_void_v<T>)
      PSCALE_CHECK(dtype_of<std::remove_const_t<T>> == dtype_, "tensor is ", name_of(dtype_));
    return reinterpret_cast<T*>(static_cast<char*>(address()));
  }
  void* address() const;

  // Views of the same memory.
  Tensor reshape(Shape shape) const;                       ///< contiguous tensors; one size may be -1
  Tensor narrow(int64_t start, int64_t length) const;      ///< part of dim 0
  Tensor columns(int64_t start, int64_t length) const;     ///< part of the last dim
  /// Part of any dim of a contiguous tensor, as a strided matrix whose rows are the dims before it.
  Tensor part(int dim, int64_t start, int64_t length) const;

  void fill_zero() const;                                  ///< contiguous tensors
  /// Copies bytes from `source`: same shape and dtype, any row strides.
  void copy_from(const Tensor& source) const;
  /// One element as double, for tests and scalars; waits for the device.
  double item(int64_t index = 0) const;

  /// For tests: a tensor with these values.
  static Tensor of(const Device& device, Shape shape, DType dtype, const std::vector<double>& values);
  std::vector<double> to_vector() const;

 private:
  struct Storage {
    const Device* device;
    void* memory;
    ~Storage();
  };
  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  ///< elements
  Shape shape_;
  int64_t row_stride_ = 0;
  DType dtype_ = DType::float32;
};

}  // namespace pscale
