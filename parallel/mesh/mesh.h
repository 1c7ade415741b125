// The mesh as one rank sees it: the layout, its coordinates, and a communicator for every set of axes.
#pragma once

#include <map>
#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/mesh/layout.h"

namespace pscale {

class Mesh {
 public:
  using Groups = std::map<AxisSet, std::unique_ptr<Communicator>>;

  /// `groups`: one for each set of axes over which more than one rank lies. `counters` belongs to them.
  Mesh(Layout layout, int64_t rank, Groups groups, std::unique_ptr<CommCounters> counters);

  const Layout& layout() const { return layout_; }
  int64_t rank() const { return rank_; }
  const Coordinates& coordinates() const { return coordinates_; }
  /// The ranks that differ from this one only on `axes`. One rank alone has the self communicator.
  Communicator& group(AxisSet axes) const;
  CommCounters& counters() const { return *counters_; }
  /// Bytes that the communicators hold for themselves on this rank.
  int64_t communication_bytes() const;

 private:
  Layout layout_;
  int64_t rank_;
  Coordinates coordinates_;
  Groups groups_;
  std::unique_ptr<Communicator> self_;
  std::unique_ptr<CommCounters> counters_;
};

/// 1x1x1, without MPI.
std::unique_ptr<Mesh> make_self_mesh();

}  // namespace pscale
