// The sizes of the mesh axes, and where a rank lies among them. Plain arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/mesh/axis.h"

namespace pscale {

struct Coordinates {
  int64_t data = 0, replica = 0, tensor = 0;
  int64_t of(Axis axis) const;
};

struct Layout {
  int64_t data = 1, replica = 1, tensor = 1;

  int64_t world() const { return data * replica * tensor; }
  int64_t size(Axis axis) const;
  int64_t size(AxisSet axes) const;
  /// world rank = ((data * R) + replica) * T + tensor
  Coordinates coordinates_of(int64_t rank) const;
  int64_t rank_of(const Coordinates& at) const;
  /// World ranks of the group over `axes` that contains `rank`, in increasing order.
  std::vector<int64_t> members(AxisSet axes, int64_t rank) const;
  /// The sets of axes whose groups have several ranks and no axis of size 1: a communicator for each.
  std::vector<AxisSet> groups() const;
  bool operator==(const Layout&) const = default;
};

/// "2x2x2": data x replica x tensor.
std::string to_string(const Layout& layout);

/// What a layout must divide.
struct ModelDegrees {
  int64_t replicas = 1, heads = 1, kv_heads = 1, intermediate = 1;
};

/// The layout asked for, `asked` with 0 for "choose": replica 0 is the largest divisor of P that divides the ranks left,
/// data 0 is what is left. Rules: R divides P; T divides the query heads and the intermediate size; T and the key/value
/// heads: one divides the other; data x R x T is the number of ranks. Throws UserError with all that is broken, and with
/// the layouts that would fit.
Layout resolve_layout(const Layout& asked, int64_t world, const ModelDegrees& degrees);

}  // namespace pscale
