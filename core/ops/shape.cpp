#include "core/ops/shape.h"

#include <algorithm>

#include "core/tensor/accumulate.h"

namespace pscale {

namespace {

DType gradient_dtype(const Var& x) { return x.gradient() ? x.gradient()->dtype() : x.dtype(); }

Tensor swapped(const Tensor& x) {
  Shape shape = x.shape();
  std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  const Tensor y = Tensor::empty(x.device(), shape, x.dtype());
  const int64_t a = x.size(-2), b = x.size(-1);
  kernels<ShapeKernels>(x.device()).swap(x.dtype(), x.address(), y.address(), x.elements() / std::max<int64_t>(1, a * b), a, b);
  return y;
}

}  // namespace

Var reshape(Tape& tape, const Var& x, Shape shape) {
  return tape.op(
      x.value().reshape(std::move(shape)), {&x},
      [gx = x.gradient(), from = x.shape()](Tensor dy) { gx->add(dy.reshape(from)); }, gradient_dtype(x));
}

Var narrow(Tape& tape, const Var& x, int dim, int64_t start, int64_t length) {
  PSCALE_CHECK(dim >= 0 && dim < x.value().rank() && start >= 0 && start + length <= x.size(dim), "dim ", dim, ": ", start,
               " + ", length, " of ", to_string(x.shape()));
  Tensor y;
  if (dim == 0) {
    y = x.value().narrow(start, length);
  } else {
    Shape shape = x.shape();
    shape[static_cast<size_t>(dim)] = length;
    y = Tensor::empty(x.device(), shape, x.dtype());
    const Tensor part = x.value().part(dim, start, length);
    convert(y.reshape(part.shape()), part);
  }
  return tape.op(
      y, {&x},
      [gx = x.gradient(), dim, start, length](Tensor dy) {
        const Gradient::Target dx = gx->target();
        if (!dx.accumulate) dx.tensor.fill_zero();
        const Tensor part = dx.tensor.part(dim, start, length);
        accumulate(part, dy.reshape(part.shape()));
      },
      gradient_dtype(x));
}

Var swap_last_dims(Tape& tape, const Var& x) {
  PSCALE_CHECK(x.value().rank() >= 2 && x.value().contiguous(), to_string(x.shape()));
  return tape.op(
      swapped(x.value()), {&x}, [gx = x.gradient()](Tensor dy) { gx->add(swapped(dy)); }, gradient_dtype(x));
}

Var replicate(Tape& tape, const Var& x, int64_t p) {
  PSCALE_CHECK(x.value().rank() == 2 && x.value().contiguous(), to_string(x.shape()));
  const int64_t n = x.size(0), columns = x.size(1);
  if (p == 1) return reshape(tape, x, {n, 1, columns});
  const Tensor y = Tensor::empty(x.device(), {n, p, columns}, x.dtype());
  const Tensor wide = y.reshape({n, p * columns});
  for (int64_t j = 0; j < p; ++j) convert(wide.columns(j * columns, columns), x.value());
  return tape.op(y, {&x}, [gx = x.gradient(), n, p, columns](Tensor dy) {
    const Gradient::Target dx = gx->target();
    const Tensor parts = dy.reshape({n, p * columns});
    if (dx.accumulate) {
      accumulate(dx.tensor, parts.columns(0, columns));
    } else {
      convert(dx.tensor, parts.columns(0, columns));
    }
    for (int64_t j = 1; j < p; ++j) accumulate(dx.tensor, parts.columns(j * columns, columns));
  });
}

}  // namespace pscale
