// What a program that computes sets up before anything else: MPI, threads, device, layout, mesh.
#pragma once

#include <memory>

#include "core/tensor/device.h"
#include "launch/run_config.h"
#include "parallel/comm/mpi_world.h"
#include "parallel/mesh/layout.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

/// The layout a configuration asks for on `ranks` ranks. Throws UserError with all that does not fit, before memory is
/// taken.
Layout layout_for(const Config& config, int ranks);

/// Threads of this rank: `asked`, else OMP_NUM_THREADS where it is set, else the cores this process may use divided by
/// the ranks on the node. Returns what it set.
int set_threads(int64_t asked, int ranks_on_node);

/// Device, layout and mesh of one rank under MPI.
///
/// When an exception ends the program, device and mesh are left as they are: other ranks may never come to the collectives
/// that freeing a mesh takes, and the progress thread may still be moving data.
class Session {
 public:
  Session(const Config& config, MpiWorld& world);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Device& device() const { return *device_; }
  const Layout& layout() const { return mesh_->layout(); }
  const Mesh& mesh() const { return *mesh_; }

 private:
  int exceptions_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Mesh> mesh_;
};

}  // namespace pscale
