// A communicator that sends nothing and counts everything: one rank's view of a group, for planning without the others.
#pragma once

#include <memory>

#include "parallel/comm/communicator.h"
#include "parallel/mesh/mesh.h"

namespace pscale {

class PlannedCommunicator final : public Communicator {
 public:
  /// `window_bytes`: what a real group of this size would hold.
  PlannedCommunicator(int rank, int size, AxisSet axes, CommCounters& counters, int64_t window_bytes)
      : rank_(rank), size_(size), axes_(axes), counters_(&counters), window_bytes_(window_bytes) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Request all_reduce(void*, int64_t count, DType type, Reduction, Purpose purpose) override;
  Request all_gather(const void*, void*, int64_t count, DType type, Purpose purpose) override;
  Request reduce_scatter(const void*, void*, int64_t count, DType type, Purpose purpose) override;
  void barrier() override {}
  int64_t memory_bytes() const override { return window_bytes_; }

 private:
  int rank_, size_;
  AxisSet axes_;
  CommCounters* counters_;
  int64_t window_bytes_;
};

/// The mesh that `rank` would see.
std::unique_ptr<Mesh> make_planned_mesh(const Layout& layout, int64_t rank);

}  // namespace pscale
