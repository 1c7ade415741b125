#include "parallel/comm/planned.h"

#include <algorithm>

#include "parallel/comm/shared_window.h"

namespace pscale {

Request PlannedCommunicator::all_reduce(void*, int64_t count, DType type, Reduction, Purpose purpose) {
  const int64_t sent = 2 * (size_ - 1) * count / size_;
  counters_->add({axes_, purpose.name}, sent, sent * size_of(type));
  return {};
}

Request PlannedCommunicator::all_gather(const void*, void*, int64_t count, DType type, Purpose purpose) {
  counters_->add({axes_, purpose.name}, (size_ - 1) * count, (size_ - 1) * count * size_of(type));
  return {};
}

Request PlannedCommunicator::reduce_scatter(const void*, void*, int64_t count, DType type, Purpose purpose) {
  counters_->add({axes_, purpose.name}, (size_ - 1) * count, (size_ - 1) * count * size_of(type));
  return {};
}

std::unique_ptr<Mesh> make_planned_mesh(const Layout& layout, int64_t rank) {
  auto counters = std::make_unique<CommCounters>();
  Mesh::Groups groups;
  for (const AxisSet axes : layout.groups()) {
    const std::vector<int64_t> members = layout.members(axes, rank);
    const auto mine = std::find(members.begin(), members.end(), rank) - members.begin();
    groups[axes] = std::make_unique<PlannedCommunicator>(static_cast<int>(mine), static_cast<int>(members.size()), axes,
                                                         *counters, kWindowBytes);
  }
  return std::make_unique<Mesh>(layout, rank, std::move(groups), std::move(counters));
}

}  // namespace pscale
