#include "core/ops/add.h"

#include "core/tensor/accumulate.h"

namespace pscale {

Var add_into(Tape& tape, const Var& residual, Var&& branch) {
  PSCALE_CHECK(residual.dtype() == branch.dtype(), "dtypes differ");
  accumulate(branch.value(), residual.value());
  return tape.op(branch.value(), {&residual, &branch}, [gr = residual.gradient(), gb = branch.gradient()](Tensor dy) {
    // Both keep the same memory; whoever adds to it later takes a copy first.
    if (gr) gr->add(dy);
    if (gb) gb->add(std::move(dy));
  });
}

}  // namespace pscale
