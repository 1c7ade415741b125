// A communicator whose collectives seem to take longer: each is complete no earlier than a given time after its start. It
// blocks nobody meanwhile. For tests and experiments that ask what a slower network would cost.
#pragma once

#include <chrono>
#include <memory>

#include "parallel/comm/communicator.h"

namespace pscale {

class DelayedCommunicator final : public Communicator {
 public:
  DelayedCommunicator(Communicator& inner, std::chrono::duration<double> delay) : inner_(&inner), delay_(delay) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Request all_reduce(void* inout, int64_t count, DType type, Reduction reduction, Purpose purpose) override;
  Request all_gather(const void* send, void* receive, int64_t count, DType type, Purpose purpose) override;
  Request reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose purpose) override;
  void barrier() override { inner_->barrier(); }
  int64_t memory_bytes() const override { return inner_->memory_bytes(); }

 private:
  Request late(Request request) const;
  Communicator* inner_;
  std::chrono::duration<double> delay_;
};

}  // namespace pscale
