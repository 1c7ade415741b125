#include "parallel/ops/linear.h"

#include <algorithm>

#include "core/ops/bias.h"
#include "core/ops/matmul.h"
#include "core/ops/swiglu.h"
#include "parallel/ops/collectives.h"

namespace pscale {

namespace {

constexpr Purpose kForward{"tensor_forward"};
constexpr Purpose kBackward{"tensor_backward"};
constexpr Purpose kRegather{"tensor_regather"};

Shape with_columns(Shape shape, int64_t columns) {
  shape.back() = columns;
  return shape;
}

}  // namespace

struct ColumnInput::Shared {
  Tensor slice;  // [n/T, ..., in]
  Communicator* group = nullptr;
  // Backward only.
  Tensor full;
  Request regather;
  bool regather_started = false;
  Tensor dx;  // [n, ..., in], sums over the linears
  Request scatter;

  void start_regather() {
    if (regather_started) return;
    regather_started = true;
    if (group->size() == 1) {
      full = slice;
      return;
    }
    full = Tensor::empty(slice.device(), gathered_shape(slice, *group), slice.dtype());
    regather = all_gather_into(slice, full, *group, kRegather);
  }

  const Tensor& regathered() {
    start_regather();
    if (group->size() > 1) regather.wait();
    return full;
  }
};

ColumnInput::ColumnInput(Tape& tape, const Var& x, Communicator& tensor) : shared_(std::make_shared<Shared>()) {
  shared_->slice = x.value();
  shared_->group = &tensor;
  gathered_ = x.value();
  if (tensor.size() > 1) {
    gathered_ = Tensor::empty(x.device(), gathered_shape(x.value(), tensor), x.dtype());
    all_gather_into(x.value(), gathered_, tensor, kForward).wait();
  }
  ticket_ = tape.op(x.value(), {&x}, [shared = shared_, gx = x.gradient()](Tensor dx) {
    if (shared->group->size() > 1) shared->scatter.wait();
    shared->dx = {};
    gx->add(std::move(dx));
  });
}

ColumnInput::~ColumnInput() = default;
ColumnInput::ColumnInput(ColumnInput&&) noexcept = default;

Var ColumnInput::linear(Tape& tape, std::initializer_list<LinearWeights> projections) {
  struct Saved {
    Tensor weight;
    std::shared_ptr<Gradient> gw, gb;
    int64_t start;
  };
  std::vector<Saved> saved;
  std::vector<const Var*> inputs{&ticket_};
  int64_t columns = 0;
  for (const LinearWeights& p : projections) {
    saved.push_back({p.weight.value(), p.weight.gradient(), p.bias.gradient(), columns});
    inputs.push_back(&p.weight);
    inputs.push_back(&p.bias);
    columns += p.weight.size(0);
  }
  const Tensor y = Tensor::empty(gathered_.device(), with_columns(gathered_.shape(), columns), gathered_.dtype());
  for (const LinearWeights& p : projections) {
    const size_t i = static_cast<size_t>(&p - projections.begin());
    matmul(gathered_, Transpose::no, p.weight.value(), Transpose::yes, y.columns(saved[i].start, p.weight.size(0)),
           false, p.bias.value());
  }
  const bool first = linears_++ == 0;
  std::vector<Tensor> values{y};
  return tape.op(std::move(values), inputs,
                 [shared = shared_, saved, ticket = ticket_.gradient(), first](std::vector<Tensor> grads) {
                   const Tensor dy = std::move(grads[0]);
                   const bool weights = std::any_of(saved.begin(), saved.end(), [](const Saved& s) { return s.gw; });
                   if (weights) shared->start_regather();
                   if (ticket) {
                     for (const Saved& s : saved) {
                       const bool add = shared->dx.defined();
                       if (!add) {
                         Shape shape = with_columns(dy.shape(), s.weight.size(1));
                         shared->dx = Tensor::empty(dy.device(), std::move(shape), dy.dtype());
                       }
                       matmul(dy.columns(s.start, s.weight.size(0)), Transpose::no, s.weight, Transpose::no, shared->dx,
                              add);
                     }
                     if (first && shared->group->size() > 1) {
                       const Tensor dx =
                           Tensor::empty(dy.device(), scattered_shape(shared->dx, *shared->group), dy.dtype());
                       shared->scatter = reduce_scatter_into(shared->dx, dx, *shared->group, kBackward);
                       ticket->add(dx);
                     } else if (first) {
                       ticket->add(std::move(shared->dx));
                     }
                   }
                   for (const Saved& s : saved) {
                     const Tensor part = dy.columns(s.start, s.weight.size(0));
                     if (s.gw) {
                       const Gradient::Target dw = s.gw->target();
                       matmul(part, Transpose::yes, shared->regathered(), Transpose::no, dw.tensor, dw.accumulate);
                     }
                     if (s.gb) {
                       const Gradient::Target db = s.gb->target();
                       column_sums(part, db.tensor, db.accumulate);
                     }
                   }
                   if (first) shared->full = {};
                 })[0];
}

Var row_linear(Tape& tape, const Var& x, const Var& weight, Communicator& tensor, RowActivation activation,
               Purpose purpose) {
  const bool gated = activation == RowActivation::swiglu;
  const int64_t in = weight.size(1), out = weight.size(0);
  const auto activated = [gated, in](const Tensor& source) {
    if (!gated) return source;
    const Tensor product = Tensor::empty(source.device(), with_columns(source.shape(), in), source.dtype());
    swiglu_forward(source, product);
    return product;
  };
  Tensor y = Tensor::empty(x.device(), with_columns(x.shape(), out), x.dtype());
  matmul(activated(x.value()), Transpose::no, weight.value(), Transpose::yes, y, false);
  if (tensor.size() > 1) {
    const Tensor part = Tensor::empty(y.device(), scattered_shape(y, tensor), y.dtype());
    reduce_scatter_into(y, part, tensor, purpose).wait();
    y = part;
  }
  return tape.op(y, {&x, &weight},
                 [x = x.value(), w = weight.value(), gx = x.gradient(), gw = weight.gradient(), group = &tensor, gated,
                  in, activated, purpose](Tensor dy) {
                   if (group->size() > 1) {
                     const Tensor full = Tensor::empty(dy.device(), gathered_shape(dy, *group), dy.dtype());
                     all_gather_into(dy, full, *group, purpose).wait();
                     dy = full;
                   }
                   if (gx) {
                     Tensor dx = Tensor::empty(dy.device(), with_columns(dy.shape(), in), dy.dtype());
                     matmul(dy, Transpose::no, w, Transpose::no, dx, false);
                     if (gated) {
                       const Tensor dgated = Tensor::empty_like(x);
                       swiglu_backward(x, dx, dgated);
                       dx = dgated;
                     }
                     gx->add(std::move(dx));
                   }
                   if (gw) {
                     const Gradient::Target dw = gw->target();
                     matmul(dy, Transpose::yes, activated(x), Transpose::no, dw.tensor, dw.accumulate);
                   }
                 });
}

}  // namespace pscale
