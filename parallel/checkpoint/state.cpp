#include "parallel/checkpoint/state.h"

#include <algorithm>

#include "parallel/checkpoint/slab.h"

namespace pscale {

std::string_view name_of(StateKind kind) {
  switch (kind) {
    case StateKind::exp_avg: return "exp_avg";
    case StateKind::exp_avg_sq: return "exp_avg_sq";
    default: return "weights";
  }
}

namespace {

/// The piece of the rank's slice that it owns, relative to the slice.
Hyperslab own_piece(const ParameterSet& parameters, const Parameter& p) {
  const Communicator& group = parameters.mesh().group(p.replicated_over());
  return owner_piece(p.slab().count, group.size(), group.rank());
}

/// A view of it. The cut dim is the only one it does not cover whole.
Tensor view(const Parameter& p, const Hyperslab& piece) {
  const Shape& shape = p.slab().count;
  const auto dim = static_cast<size_t>(std::max_element(shape.begin(), shape.end()) - shape.begin());
  return p.valid().part(static_cast<int>(dim), piece.start[dim], piece.count[dim]);
}

}  // namespace

std::vector<StateTensor> owned_state(const ParameterSet& parameters, const ShardedAdamW& optimizer) {
  std::vector<StateTensor> all;
  for (const Parameter& p : parameters.all()) {
    const Hyperslab piece = own_piece(parameters, p);
    if (elements_of(piece) == 0) continue;
    const Hyperslab slab = within(p.slab(), piece);
    const ShardedAdamW::State* state = optimizer.state_of(p);
    const bool master = state != nullptr && state->master.defined();
    all.push_back({StateKind::weight, &p.spec(), slab, master ? state->master : view(p, piece)});
    if (state == nullptr) continue;
    all.push_back({StateKind::exp_avg, &p.spec(), slab, state->first});
    all.push_back({StateKind::exp_avg_sq, &p.spec(), slab, state->second});
  }
  return all;
}

std::vector<StateTensor> held_weights(const ParameterSet& parameters) {
  std::vector<StateTensor> all;
  for (const Parameter& p : parameters.all())
    if (elements_of(p.slab()) > 0) all.push_back({StateKind::weight, &p.spec(), p.slab(), p.valid()});
  return all;
}

std::vector<StateTensor> held_state(const ParameterSet& parameters, const ShardedAdamW& optimizer) {
  std::vector<StateTensor> all = held_weights(parameters);
  for (const Parameter& p : parameters.all()) {
    const ShardedAdamW::State* state = optimizer.state_of(p);
    if (state == nullptr) continue;
    const Hyperslab slab = within(p.slab(), own_piece(parameters, p));
    if (state->master.defined()) all.push_back({StateKind::weight, &p.spec(), slab, state->master});
    all.push_back({StateKind::exp_avg, &p.spec(), slab, state->first});
    all.push_back({StateKind::exp_avg_sq, &p.spec(), slab, state->second});
  }
  return all;
}

}  // namespace pscale
