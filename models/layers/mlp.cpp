#include "models/layers/mlp.h"

#include "parallel/ops/linear.h"

namespace pscale {

Mlp::Mlp(int layer, const ModelConfig& config, ParameterSet& parameters) {
  const auto declare = [&](const char* which, Shape shape, int cut) {
    return &parameters.declare({.name = cat("model.layers.", layer, ".mlp.", which, "_proj.weight"),
                                .shape = std::move(shape),
                                .placement = {{Axis::tensor, cut}},
                                .initializer = {Initializer::Kind::normal, config.initializer_range},
                                .decay = true});
  };
  gate_ = declare("gate", {config.intermediate_size, config.hidden_size}, 0);
  up_ = declare("up", {config.intermediate_size, config.hidden_size}, 0);
  down_ = declare("down", {config.hidden_size, config.intermediate_size}, 1);
}

Var Mlp::operator()(Tape& tape, const Var& x, const Stream& stream) const {
  Communicator& tensor = stream.mesh->group(Axis::tensor);
  ColumnInput in(tape, x, tensor);
  const Var gate_up = in.linear(tape, {{gate_->var(), {}}, {up_->var(), {}}});
  return row_linear(tape, gate_up, down_->var(), tensor, RowActivation::swiglu);
}

}  // namespace pscale
