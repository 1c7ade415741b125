#include "core/ops/embedding.h"

namespace pscale {

Var embedding(Tape& tape, const Var& table, const Tensor& tokens, int64_t first_row) {
  PSCALE_CHECK(table.value().rank() == 2 && tokens.rank() == 1 && tokens.dtype() == DType::int32, "table ",
               to_string(table.shape()), ", tokens ", to_string(tokens.shape()));
  const int64_t rows = table.size(0), columns = table.size(1), count = tokens.elements();
  const auto& k = kernels<EmbeddingKernels>(table.device());
  const Tensor out = Tensor::empty(table.device(), {count, columns}, table.dtype());
  k.forward(table.dtype(), table.value().address(), tokens.data<int32_t>(), out.address(), count, first_row, rows, columns);
  return tape.op(out, {&table}, [&k, tokens, gt = table.gradient(), count, first_row, rows, columns](Tensor dy) {
    const Gradient::Target dt = gt->target();
    if (!dt.accumulate) dt.tensor.fill_zero();
    k.backward(dy.dtype(), dy.address(), tokens.data<int32_t>(), gt->dtype(), dt.tensor.address(), count, first_row, rows,
               columns);
  });
}

}  // namespace pscale
