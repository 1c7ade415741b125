// The MPI world of the test program, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "parallel/comm/mpi_world.h"

namespace pscale::testing {

/// Made by main before the first test, gone after the last.
MpiWorld& world();

/// A mesh of the layout, or nothing where this run has another number of ranks.
inline std::unique_ptr<Mesh> mesh_of(const Layout& layout, Transport transport = Transport::automatic) {
  return layout.world() == world().size() ? make_mesh(world(), layout, transport) : nullptr;
}

/// The layouts of this run's number of ranks.
inline std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (const int64_t d : {1, 2, 4, 8})
    for (const int64_t r : {1, 2, 4, 8})
      for (const int64_t t : {1, 2, 4, 8})
        if (d * r * t == world().size()) all.push_back({d, r, t});
  return all;
}

}  // namespace pscale::testing
