#include "parallel/mesh/mesh.h"

#include "core/base/errors.h"
#include "parallel/comm/self.h"

namespace pscale {

Mesh::Mesh(Layout layout, int64_t rank, Groups groups, std::unique_ptr<CommCounters> counters)
    : layout_(layout),
      rank_(rank),
      coordinates_(layout.coordinates_of(rank)),
      groups_(std::move(groups)),
      self_(std::make_unique<SelfCommunicator>()),
      counters_(std::move(counters)) {}

Communicator& Mesh::group(AxisSet axes) const {
  if (layout_.size(axes) == 1) return *self_;
  // Axes of size 1 add nobody: the group over the others is the same.
  AxisSet wide;
  for (const Axis axis : kAxes)
    if (axes.contains(axis) && layout_.size(axis) > 1) wide = wide.with(axis);
  const auto found = groups_.find(wide);
  PSCALE_CHECK(found != groups_.end(), "no communicator over ", wide.name());
  return *found->second;
}

int64_t Mesh::communication_bytes() const {
  int64_t bytes = 0;
  for (const auto& [axes, group] : groups_) bytes += group->memory_bytes();
  return bytes;
}

std::unique_ptr<Mesh> make_self_mesh() {
  return std::make_unique<Mesh>(Layout{}, 0, Mesh::Groups{}, std::make_unique<CommCounters>());
}

}  // namespace pscale
