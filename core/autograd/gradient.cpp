#include "core/autograd/gradient.h"

#include "core/tensor/accumulate.h"

namespace pscale {

Gradient::Target Gradient::target() {
  if (!value_.defined()) {
    value_ = Tensor::empty(*device_, shape_, dtype_, kind_);
    return {value_, false};
  }
  if (!value_.sole_owner() || !value_.contiguous()) {  // an operator handed the same memory to two inputs
    Tensor own = Tensor::empty(*device_, shape_, dtype_, kind_);
    own.copy_from(value_);
    value_ = own;
  }
  return {value_, true};
}

void Gradient::add(Tensor part) {
  PSCALE_CHECK(part.shape() == shape_, "gradient ", to_string(part.shape()), " of a value ", to_string(shape_));
  const bool may_keep = part.dtype() == dtype_ && kind_ == MemoryKind::activations;
  if (!value_.defined() && may_keep) {
    value_ = std::move(part);
    return;
  }
  const Target to = target();
  if (to.accumulate) {
    accumulate(to.tensor, part);
  } else {
    convert(to.tensor, part);
  }
}

void Gradient::end_use() {
  if (!on_complete_) return;
  PSCALE_CHECK(pending_uses_ > 0, "a use ended that was not noted");
  if (--pending_uses_ == 0) on_complete_();
}

}  // namespace pscale
