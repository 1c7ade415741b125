#include "parallel/mesh/placement.h"

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

void cut(Hyperslab& slab, size_t dim, int64_t size, int64_t pieces, int64_t index) {
  const int64_t each = ceil_div(size, pieces);
  slab.start[dim] = std::min(size, index * each);
  slab.count[dim] = std::min(size, (index + 1) * each) - slab.start[dim];
}

}  // namespace

Placement::Placement(std::initializer_list<std::pair<Axis, int>> cuts) : cuts_(cuts) {
  for (size_t i = 0; i < cuts_.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      PSCALE_CHECK(cuts_[i].first != cuts_[j].first && cuts_[i].second != cuts_[j].second, "two cuts of one axis or dim");
}

AxisSet Placement::axes() const {
  AxisSet axes;
  for (const auto& [axis, dim] : cuts_) axes = axes.with(axis);
  return axes;
}

Hyperslab local_slab(const std::vector<int64_t>& shape, const Placement& placement, const Layout& layout,
                     const Coordinates& at) {
  Hyperslab slab{std::vector<int64_t>(shape.size(), 0), shape};
  for (const auto& [axis, dim] : placement.cuts()) {
    const size_t d = static_cast<size_t>(dim);
    PSCALE_CHECK(dim >= 0 && d < shape.size(), "dim ", dim);
    cut(slab, d, shape[d], layout.size(axis), at.of(axis));
  }
  return slab;
}

std::vector<int64_t> local_shape(const std::vector<int64_t>& shape, const Placement& placement, const Layout& layout) {
  std::vector<int64_t> local = shape;
  for (const auto& [axis, dim] : placement.cuts())
    local[static_cast<size_t>(dim)] = ceil_div(shape[static_cast<size_t>(dim)], layout.size(axis));
  return local;
}

Hyperslab owner_piece(const std::vector<int64_t>& shape, int64_t pieces, int64_t index) {
  Hyperslab slab{std::vector<int64_t>(shape.size(), 0), shape};
  const size_t dim = static_cast<size_t>(std::max_element(shape.begin(), shape.end()) - shape.begin());
  cut(slab, dim, shape[dim], pieces, index);
  return slab;
}

}  // namespace pscale
