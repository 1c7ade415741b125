#include "core/autograd/recompute.h"

namespace pscale {

Var recompute(Tape& tape, const Var& input, std::function<Var(Tape&, const Var&)> block) {
  if (tape.mode() != Tape::Mode::record) return block(tape, input);
  Tape counting(Tape::Mode::count);
  const Var out = block(counting, input);
  // `out` stands among the inputs because the block may hold trainable parameters where its input has no gradient.
  return tape.op(out.value(), {&input, &out},
                 [x = input.value(), gx = input.gradient(), block = std::move(block)](Tensor dy) {
                   Tape again(Tape::Mode::replay);
                   const Var in = gx ? leaf(x) : constant(x);
                   const Var y = block(again, in);
                   again.backward(y, std::move(dy));
                   if (gx && in.gradient()->defined()) gx->add(in.gradient()->take());
                 });
}

}  // namespace pscale
