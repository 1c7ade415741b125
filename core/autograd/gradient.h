// Where the gradient of one value gathers while the tape is played backwards.
//
// Operators add to it; the last one to do so completes it. A parameter's gradient outlives the tape, gathers over
// micro-batches, and may have a wider dtype than the parameter (float32 for bfloat16 weights).
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "core/tensor/tensor.h"

namespace pscale {

class Gradient {
 public:
  /// For a value of this shape; memory is taken when the first part arrives.
  Gradient(const Device& device, Shape shape, DType dtype, MemoryKind kind = MemoryKind::activations)
      : device_(&device), shape_(std::move(shape)), dtype_(dtype), kind_(kind) {}

  /// Where a kernel may put its part: it must add if `accumulate`, else overwrite every element.
  struct Target {
    Tensor tensor;
    bool accumulate;
  };
  Target target();

  /// Adds a part of the same shape. The first part is kept as it is where dtypes agree, without a copy.
  void add(Tensor part);

  /// Moves the sum out; undefined where nothing was added.
  Tensor take() { return std::exchange(value_, {}); }
  const Tensor& value() const { return value_; }
  bool defined() const { return value_.defined(); }
  void clear() { value_ = {}; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }

  /// Makes the tape count the uses of this value; `callback` is called after the backward of the last one.
  void on_complete(std::function<void()> callback) { on_complete_ = std::move(callback); }
  void note_use() { pending_uses_ += on_complete_ ? 1 : 0; }
  void end_use();

 private:
  const Device* device_;
  Shape shape_;
  DType dtype_;
  MemoryKind kind_;
  Tensor value_;
  int pending_uses_ = 0;
  std::function<void()> on_complete_;
};

}  // namespace pscale
