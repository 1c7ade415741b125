#include "parallel/comm/delayed.h"

#include <thread>

namespace pscale {

namespace {

using Clock = std::chrono::steady_clock;

class Late final : public Request::State {
 public:
  Late(Request inner, Clock::time_point ready) : inner_(std::move(inner)), ready_(ready) {}
  void wait() override {
    inner_.wait();
    std::this_thread::sleep_until(ready_);
  }
  bool done() override { return inner_.done() && Clock::now() >= ready_; }

 private:
  Request inner_;
  Clock::time_point ready_;
};

}  // namespace

Request DelayedCommunicator::late(Request request) const {
  return Request(std::make_shared<Late>(
      std::move(request), Clock::now() + std::chrono::duration_cast<Clock::duration>(delay_)));
}

Request DelayedCommunicator::all_reduce(void* inout, int64_t count, DType type, Reduction reduction, Purpose purpose) {
  return late(inner_->all_reduce(inout, count, type, reduction, purpose));
}

Request DelayedCommunicator::all_gather(const void* send, void* receive, int64_t count, DType type, Purpose purpose) {
  return late(inner_->all_gather(send, receive, count, type, purpose));
}

Request DelayedCommunicator::reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose purpose) {
  return late(inner_->reduce_scatter(send, receive, count, type, purpose));
}

}  // namespace pscale
