#include "parallel/ops/collectives.h"

namespace pscale {

namespace {

Pending start(Tape& tape, const Var& x, Communicator& group, Purpose purpose, Pending::Kind kind) {
  Pending pending;
  pending.purpose = purpose;
  pending.group = &group;
  if (group.size() == 1) {
    pending.ticket = x;
    return pending;
  }
  pending.kind = kind;
  pending.flight = std::make_shared<Pending::Flight>();
  pending.flight->sent = x.value();
  const bool gather = kind == Pending::Kind::all_gather;
  pending.result = Tensor::empty(x.device(), gather ? gathered_shape(x.value(), group) : scattered_shape(x.value(), group),
                                 x.dtype());
  pending.flight->request = gather ? all_gather_into(x.value(), pending.result, group, purpose)
                                   : reduce_scatter_into(x.value(), pending.result, group, purpose);
  pending.ticket = tape.op(x.value(), {&x}, [flight = pending.flight, gx = x.gradient()](Tensor dx) {
    flight->request.wait();
    flight->sent = {};
    gx->add(std::move(dx));
  });
  return pending;
}

}  // namespace

Pending all_gather_start(Tape& tape, const Var& x, Communicator& group, Purpose purpose) {
  return start(tape, x, group, purpose, Pending::Kind::all_gather);
}

Pending reduce_scatter_start(Tape& tape, const Var& x, Communicator& group, Purpose purpose) {
  return start(tape, x, group, purpose, Pending::Kind::reduce_scatter);
}

Var wait(Tape& tape, Pending pending) {
  if (pending.kind == Pending::Kind::none) return pending.ticket;
  pending.flight->request.wait();
  pending.flight->sent = {};
  const bool gather = pending.kind == Pending::Kind::all_gather;
  return tape.op(pending.result, {&pending.ticket},
                 [flight = pending.flight, ticket = pending.ticket.gradient(), group = pending.group,
                  purpose = pending.purpose, gather](Tensor dy) {
                   const Tensor dx = Tensor::empty(
                       dy.device(), gather ? scattered_shape(dy, *group) : gathered_shape(dy, *group), dy.dtype());
                   flight->sent = dy;
                   flight->request = gather ? reduce_scatter_into(dy, dx, *group, purpose)
                                            : all_gather_into(dy, dx, *group, purpose);
                   ticket->add(dx);  // still in flight: the start, which comes next to it backwards, waits
                 });
}

Request all_gather_into(const Tensor& x, const Tensor& out, Communicator& group, Purpose purpose) {
  PSCALE_CHECK(x.contiguous() && out.contiguous() && out.elements() == x.elements() * group.size(),
               to_string(x.shape()), " gathered into ", to_string(out.shape()));
  return group.all_gather(x.address(), out.address(), x.elements(), x.dtype(), purpose);
}

Request reduce_scatter_into(const Tensor& x, const Tensor& out, Communicator& group, Purpose purpose) {
  PSCALE_CHECK(x.contiguous() && out.contiguous() && x.elements() == out.elements() * group.size(),
               to_string(x.shape()), " scattered into ", to_string(out.shape()));
  return group.reduce_scatter(x.address(), out.address(), out.elements(), x.dtype(), purpose);
}

Shape gathered_shape(const Tensor& x, const Communicator& group) {
  Shape shape = x.shape();
  shape[0] *= group.size();
  return shape;
}

Shape scattered_shape(const Tensor& x, const Communicator& group) {
  Shape shape = x.shape();
  PSCALE_CHECK(shape[0] % group.size() == 0, shape[0], " rows over ", group.size(), " ranks");
  shape[0] /= group.size();
  return shape;
}

}  // namespace pscale
