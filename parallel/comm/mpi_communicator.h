// A communicator over a group of MPI ranks: through shared memory where they are on one machine, else through MPI.
#pragma once

#include <mpi.h>

#include <memory>

#include "parallel/comm/mpi_world.h"

namespace pscale {

class SharedWindow;

class MpiCommunicator final : public Communicator {
 public:
  /// The ranks of `parent` with the same color. Collective over `parent`; to be called before the progress thread has
  /// work, because it calls MPI itself.
  MpiCommunicator(MPI_Comm parent, int color, AxisSet axes, ProgressThread& progress, CommCounters& counters,
                  Transport transport);
  ~MpiCommunicator() override;
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Request all_reduce(void* inout, int64_t count, DType type, Reduction reduction, Purpose purpose) override;
  Request all_gather(const void* send, void* receive, int64_t count, DType type, Purpose purpose) override;
  Request reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose purpose) override;
  void barrier() override;
  int64_t memory_bytes() const override;

 private:
  Request start(std::function<void()> job, const char* operation, int64_t count, int64_t sent, DType type, Purpose purpose);
  MPI_Comm group_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  AxisSet axes_;
  ProgressThread* progress_;
  CommCounters* counters_;
  std::unique_ptr<SharedWindow> window_;  // null: through MPI
};

}  // namespace pscale
