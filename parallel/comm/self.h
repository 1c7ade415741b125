// The communicator of a group of one rank: no MPI call, and no copy where input and output are the same memory.
#pragma once

#include "parallel/comm/communicator.h"

namespace pscale {

class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  Request all_reduce(void*, int64_t, DType, Reduction, Purpose) override { return {}; }
  Request all_gather(const void* send, void* receive, int64_t count, DType type, Purpose) override;
  Request reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose) override;
  void barrier() override {}
  int64_t memory_bytes() const override { return 0; }
};

}  // namespace pscale
