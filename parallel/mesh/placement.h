// Which mesh axis cuts which dim of a parameter, and the pieces that follow from it. Plain arithmetic.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "parallel/mesh/layout.h"

namespace pscale {

/// At most one dim per axis and one axis per dim; an axis that is not named leaves the parameter replicated over it.
class Placement {
 public:
  Placement() = default;
  Placement(std::initializer_list<std::pair<Axis, int>> cuts);
  AxisSet axes() const;
  const std::vector<std::pair<Axis, int>>& cuts() const { return cuts_; }

 private:
  std::vector<std::pair<Axis, int>> cuts_;
};

/// A rectangular part of a tensor.
struct Hyperslab {
  std::vector<int64_t> start, count;
  bool operator==(const Hyperslab&) const = default;
};

/// The part of a parameter of `shape` that a rank holds: a dim of size s cut over k ranks has pieces of ceil(s / k); the
/// last ones may be shorter or empty.
Hyperslab local_slab(const std::vector<int64_t>& shape, const Placement& placement, const Layout& layout,
                     const Coordinates& at);
/// The shape every rank takes memory for: ceil(s / k) of each cut dim.
std::vector<int64_t> local_shape(const std::vector<int64_t>& shape, const Placement& placement, const Layout& layout);

/// The part of a slice of `shape` that rank `index` of the `pieces` ranks holding the same slice owns: its longest dim
/// (the first of equals) cut into pieces of ceil(s / pieces), the last ones shorter or empty.
Hyperslab owner_piece(const std::vector<int64_t>& shape, int64_t pieces, int64_t index);

}  // namespace pscale
