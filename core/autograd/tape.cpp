#include "core/autograd/tape.h"

#include <algorithm>

namespace pscale {

Var Tape::op(Tensor value, std::initializer_list<const Var*> inputs, Backward backward,
             std::optional<DType> gradient_dtype) {
  BackwardMany many;
  if (recording())
    many = [backward = std::move(backward)](std::vector<Tensor> grads) { backward(std::move(grads[0])); };
  std::vector<Tensor> values;
  values.push_back(std::move(value));
  return op(std::move(values), std::span(inputs.begin(), inputs.size()), std::move(many), gradient_dtype)[0];
}

std::vector<Var> Tape::op(std::vector<Tensor> values, std::span<const Var* const> inputs, BackwardMany backward,
                          std::optional<DType> gradient_dtype) {
  std::vector<std::shared_ptr<Gradient>> wanted;
  if (mode_ != Mode::off)
    for (const Var* input : inputs)
      if (input->gradient()) wanted.push_back(input->gradient());
  if (mode_ == Mode::record || mode_ == Mode::count)
    for (const auto& gradient : wanted) gradient->note_use();

  std::vector<Var> outputs;
  Node node;
  for (Tensor& value : values) {
    std::shared_ptr<Gradient> gradient;
    // In a counting pass outputs carry a gradient too, so that uses further on are counted.
    if (!wanted.empty())
      gradient = std::make_shared<Gradient>(value.device(), value.shape(), gradient_dtype.value_or(value.dtype()));
    if (gradient && recording()) node.outputs.push_back(gradient);
    outputs.emplace_back(std::move(value), std::move(gradient));
  }
  if (!wanted.empty() && recording()) {
    node.inputs = std::move(wanted);
    node.backward = std::move(backward);
    nodes_.push_back(std::move(node));
  }
  return outputs;
}

void Tape::backward(const Var& result, Tensor seed) {
  PSCALE_CHECK(result.gradient() != nullptr, "backward from a value that depends on nothing trainable");
  if (!seed.defined()) {
    std::vector<double> ones(static_cast<size_t>(elements_of(result.shape())), 1.0);
    seed = Tensor::of(result.device(), result.shape(), result.dtype(), ones);
  }
  result.gradient()->add(std::move(seed));
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    std::vector<Tensor> grads;
    for (const auto& output : node.outputs) grads.push_back(output->take());
    const bool arrived = std::any_of(grads.begin(), grads.end(), [](const Tensor& g) { return g.defined(); });
    if (arrived) node.backward(std::move(grads));
    node.backward = nullptr;  // frees what it saved before the next operator asks for memory
    for (const auto& input : node.inputs) input->end_use();
  }
}

Var stop_gradient(Tape& tape, const Var& x) {
  const Var* const input = &x;
  tape.op(std::vector<Tensor>{}, std::span(&input, 1), [](std::vector<Tensor>) {});
  return constant(x.value());
}

Var leaf(Tensor value) {
  auto gradient = std::make_shared<Gradient>(value.device(), value.shape(), value.dtype());
  return Var(std::move(value), std::move(gradient));
}

}  // namespace pscale
