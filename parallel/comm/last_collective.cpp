#include "parallel/comm/last_collective.h"

#include "core/base/text.h"

namespace pscale {

void LastCollective::begin(const Collective& collective) {
  operation_.store(collective.operation, std::memory_order_relaxed);
  purpose_.store(collective.purpose, std::memory_order_relaxed);
  axes_.store(collective.axes, std::memory_order_relaxed);
  count_.store(collective.count, std::memory_order_relaxed);
  type_.store(collective.type, std::memory_order_relaxed);
  begun_.fetch_add(1, std::memory_order_relaxed);
}

std::string LastCollective::text() const {
  const uint64_t begun = begun_.load(std::memory_order_relaxed);
  if (begun == 0) return "before the first collective";
  return cat(begun > completed() ? "in " : "after ", operation_.load(std::memory_order_relaxed), " of ",
             count_.load(std::memory_order_relaxed), " ", name_of(type_.load(std::memory_order_relaxed)), " over ",
             axes_.load(std::memory_order_relaxed).name(), " for ", purpose_.load(std::memory_order_relaxed), ", collective ",
             begun);
}

}  // namespace pscale
