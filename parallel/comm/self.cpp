#include "parallel/comm/self.h"

#include <cstring>

namespace pscale {

namespace {

Request copy(const void* from, void* to, int64_t count, DType type) {
  if (from != to) std::memcpy(to, from, static_cast<size_t>(count * size_of(type)));
  return {};
}

}  // namespace

Request SelfCommunicator::all_gather(const void* send, void* receive, int64_t count, DType type, Purpose) {
  return copy(send, receive, count, type);
}

Request SelfCommunicator::reduce_scatter(const void* send, void* receive, int64_t count, DType type, Purpose) {
  return copy(send, receive, count, type);
}

}  // namespace pscale
