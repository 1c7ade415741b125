// A value in a computation that may be differentiated: a tensor, and where its gradient gathers (or nothing).
#pragma once

#include "core/autograd/gradient.h"

namespace pscale {

class Var {
 public:
  Var() = default;
  explicit Var(Tensor value, std::shared_ptr<Gradient> gradient = nullptr)
      : value_(std::move(value)), gradient_(std::move(gradient)) {}

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  /// Null where no gradient is wanted. What an operator's backward captures, instead of the Var and its memory.
  const std::shared_ptr<Gradient>& gradient() const { return gradient_; }

  const Device& device() const { return value_.device(); }
  DType dtype() const { return value_.dtype(); }
  const Shape& shape() const { return value_.shape(); }
  int64_t size(int dim) const { return value_.size(dim); }

 private:
  Tensor value_;
  std::shared_ptr<Gradient> gradient_;
};

}  // namespace pscale
