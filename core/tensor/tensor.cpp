#include "core/tensor/tensor.h"

#include <cstring>

#include "core/tensor/accumulate.h"

namespace pscale {

int64_t elements_of(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::string to_string(const Shape& shape) { return cat("[", join(shape, ", "), "]"); }

Tensor::Storage::~Storage() { device->allocator().release(memory); }

Tensor Tensor::empty(const Device& device, Shape shape, DType dtype, MemoryKind kind) {
  for (const int64_t size : shape) PSCALE_CHECK(size >= 0, to_string(shape));
  Tensor t;
  t.shape_ = std::move(shape);
  t.dtype_ = dtype;
  t.row_stride_ = t.columns();
  t.storage_ = std::make_shared<Storage>();
  t.storage_->device = &device;
  t.storage_->memory = device.allocator().allocate(static_cast<size_t>(t.bytes()), kind);
  return t;
}

Tensor Tensor::zeros(const Device& device, Shape shape, DType dtype, MemoryKind kind) {
  Tensor t = empty(device, std::move(shape), dtype, kind);
  t.fill_zero();
  return t;
}

Tensor Tensor::empty_like(const Tensor& like, MemoryKind kind) {
  return empty(like.device(), like.shape(), like.dtype(), kind);
}

int64_t Tensor::size(int dim) const {
  const int at = dim < 0 ? dim + rank() : dim;
  PSCALE_CHECK(at >= 0 && at < rank(), "dim ", dim, " of ", to_string(shape_));
  return shape_[static_cast<size_t>(at)];
}

int64_t Tensor::rows() const {
  int64_t product = 1;
  for (size_t i = 0; i + 1 < shape_.size(); ++i) product *= shape_[i];
  return product;
}

void* Tensor::address() const {
  return static_cast<char*>(storage_->memory) + offset_ * size_of(dtype_);
}

Tensor Tensor::reshape(Shape shape) const {
  PSCALE_CHECK(contiguous(), "reshape of a strided view");
  int64_t known = 1, open = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      open = static_cast<int64_t>(i);
    } else {
      known *= shape[i];
    }
  }
  if (open >= 0) shape[static_cast<size_t>(open)] = known == 0 ? 0 : elements() / known;
  PSCALE_CHECK(elements_of(shape) == elements(), to_string(shape_), " as ", to_string(shape));
  Tensor t = *this;
  t.shape_ = std::move(shape);
  t.row_stride_ = t.columns();
  return t;
}

Tensor Tensor::narrow(int64_t start, int64_t length) const {
  PSCALE_CHECK(rank() >= 1 && start >= 0 && length >= 0 && start + length <= shape_[0], start, " + ", length, " of ",
               to_string(shape_));
  if (rank() == 1) return columns(start, length);
  Tensor t = *this;
  const int64_t rows_each = shape_[0] == 0 ? 0 : rows() / shape_[0];
  t.offset_ += start * rows_each * row_stride_;
  t.shape_[0] = length;
  return t;
}

Tensor Tensor::columns(int64_t start, int64_t length) const {
  PSCALE_CHECK(rank() >= 1 && start >= 0 && length >= 0 && start + length <= columns(), start, " + ", length, " of ",
               to_string(shape_));
  Tensor t = *this;
  t.offset_ += start;
  t.shape_.back() = length;
  return t;
}

Tensor Tensor::part(int dim, int64_t start, int64_t length) const {
  PSCALE_CHECK(dim >= 0 && dim < rank(), "dim ", dim, " of ", to_string(shape_));
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < dim; ++i) outer *= size(i);
  for (int i = dim + 1; i < rank(); ++i) inner *= size(i);
  return reshape({outer, size(dim) * inner}).columns(start * inner, length * inner);
}

void Tensor::fill_zero() const {
  PSCALE_CHECK(contiguous(), "fill of a strided view");
  if (device().plans_only()) return;
  std::memset(address(), 0, static_cast<size_t>(bytes()));
}

void Tensor::copy_from(const Tensor& source) const {
  PSCALE_CHECK(shape_ == source.shape_ && dtype_ == source.dtype_, to_string(shape_), " ", name_of(dtype_), " from ",
               to_string(source.shape_), " ", name_of(source.dtype_));
  if (device().plans_only()) return;
  const int64_t width = size_of(dtype_);
  char* to = static_cast<char*>(address());
  const char* from = static_cast<const char*>(source.address());
  if (contiguous() && source.contiguous()) {
    std::memcpy(to, from, static_cast<size_t>(bytes()));
    return;
  }
  const int64_t line = columns() * width, count = rows();
  for (int64_t r = 0; r < count; ++r)
    std::memcpy(to + r * row_stride_ * width, from + r * source.row_stride_ * width, static_cast<size_t>(line));
}

double Tensor::item(int64_t index) const {
  PSCALE_CHECK(index >= 0 && index < elements(), "element ", index, " of ", to_string(shape_));
  device().synchronize();
  const int64_t width = columns();
  const int64_t at = index / width * row_stride_ + index % width;
  switch (dtype_) {
    case DType::float32: return data<float>()[at];
    case DType::bfloat16: return static_cast<float>(data<bfloat16>()[at]);
    case DType::float64: return data<double>()[at];
    case DType::int32: return data<int32_t>()[at];
  }
  return 0;
}

Tensor Tensor::of(const Device& device, Shape shape, DType dtype, const std::vector<double>& values) {
  Tensor t = empty(device, std::move(shape), dtype);
  PSCALE_CHECK(t.elements() == static_cast<int64_t>(values.size()), values.size(), " values for ", to_string(t.shape_));
  if (dtype == DType::int32) {
    for (size_t i = 0; i < values.size(); ++i) t.data<int32_t>()[i] = static_cast<int32_t>(values[i]);
  } else {
    dispatch_float(dtype, [&]<class T>(T) {
      for (size_t i = 0; i < values.size(); ++i) {
        if constexpr (std::is_same_v<T, double>) {
          t.data<T>()[i] = values[i];
        } else {
          t.data<T>()[i] = T(static_cast<float>(values[i]));
        }
      }
    });
  }
  return t;
}

std::vector<double> Tensor::to_vector() const {
  std::vector<double> values(static_cast<size_t>(elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = item(static_cast<int64_t>(i));
  return values;
}

}  // namespace pscale
