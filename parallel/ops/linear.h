// Tensor-parallel linear layers (Shoeybi et al. 2019) with token-split activations between them (sequence parallelism,
// Korthikanti et al. 2022). With one tensor rank they are plain linear layers and send nothing.
//
// n tokens, T tensor ranks; a column-parallel linear takes the rank's n/T tokens and gives all n tokens of its share of
// the output features; a row-parallel one the reverse.
#pragma once

#include <initializer_list>
#include <memory>

#include "core/autograd/tape.h"
#include "parallel/comm/communicator.h"

namespace pscale {

/// One projection: weight [out, in] as Hugging Face stores it, bias [out] or undefined.
struct LinearWeights {
  Var weight, bias;
};

/// The input of one or more column-parallel linears, gathered over the tensor ranks once. The tape keeps only the
/// rank's own tokens; backward gathers them again, and sends the input's gradient on its way before it computes the
/// first linear's weight gradient. Destroying this object frees the gathered input.
class ColumnInput {
 public:
  /// x [n/T, ..., in]
  ColumnInput(Tape& tape, const Var& x, Communicator& tensor);
  ~ColumnInput();
  ColumnInput(ColumnInput&&) noexcept;
  ColumnInput& operator=(ColumnInput&&) = delete;

  /// -> [n, ..., sum of out]: the outputs of the projections side by side.
  Var linear(Tape& tape, std::initializer_list<LinearWeights> projections);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  Var ticket_;
  Tensor gathered_;
  int linears_ = 0;
};

/// What is applied to the input of a row-parallel linear. Its result is not kept but computed again in backward.
enum class RowActivation : uint8_t { none, swiglu };

/// The same serves any axis over which a sum of partial products is cut by token; `purpose` names it in the counters.
/// x [n, ..., in] (with swiglu: [n, ..., 2 in], gate and up side by side), weight [out, in] -> [n/T, ..., out].
Var row_linear(Tape& tape, const Var& x, const Var& weight, Communicator& tensor,
               RowActivation activation = RowActivation::none, Purpose purpose = Purpose{"tensor_forward"});

}  // namespace pscale
