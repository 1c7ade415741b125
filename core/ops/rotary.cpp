#include "core/ops/rotary.h"

namespace pscale {

Var rotary_in_place(Tape& tape, Var&& x, const RotarySpec& spec, const RotaryTable& table, const Tensor& index) {
  const Tensor& value = x.value();
  const DType angles = x.dtype() == DType::float64 ? DType::float64 : DType::float32;
  PSCALE_CHECK(value.contiguous() && spec.head_dim % 2 == 0 &&
                   spec.first_column + spec.heads * spec.head_dim <= value.columns(),
               spec.heads, " heads of ", spec.head_dim, " in ", to_string(value.shape()));
  PSCALE_CHECK(table.cos.columns() == spec.head_dim / 2 && table.cos.dtype() == angles && table.sin.dtype() == angles,
               "table ", to_string(table.cos.shape()));
  PSCALE_CHECK(index.shape() == Shape{value.rows()} && index.dtype() == DType::int32, "index ", to_string(index.shape()));
  const auto rotate = [spec, table, index](const Tensor& t, bool transposed) {
    const RotaryArgs args{t.dtype(),     t.address(),        t.rows(),           t.columns(),
                          spec.first_column, spec.heads,     spec.head_dim,      table.cos.address(),
                          table.sin.address(), index.data<int32_t>(), spec.layout, transposed};
    kernels<RotaryKernels>(t.device()).rotate(args);
  };
  rotate(value, false);
  return tape.op(value, {&x}, [rotate, gx = x.gradient()](Tensor dy) {
    Tensor dx = std::move(dy);
    if (!dx.sole_owner()) {  // somebody else's gradient, too
      const Tensor own = Tensor::empty_like(dx);
      own.copy_from(dx);
      dx = own;
    }
    rotate(dx, true);
    gx->add(std::move(dx));
  });
}

}  // namespace pscale
