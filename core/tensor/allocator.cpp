#include "core/tensor/allocator.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/base/errors.h"

namespace pscale {

namespace {

constexpr size_t kAlign = 64;
constexpr size_t kSegment = size_t{32} << 20;  // grow by at least this much
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

class HostMemory final : public MemorySource {
 public:
  void* allocate(size_t bytes) override {
    void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED)
      throw UserError(cat("out of memory: the system did not give ", bytes >> 20,
                          " MiB more; lower train.micro_batch or train.sequence_length, set train.recompute = \"block\", "
                          "or raise parallel.tensor or parallel.replica"));
    madvise(block, bytes, MADV_HUGEPAGE);
    return block;
  }
  void release(void* block, size_t bytes) noexcept override { munmap(block, bytes); }
};

}  // namespace

std::string_view name_of(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::weights: return "weights";
    case MemoryKind::gradients: return "gradients";
    case MemoryKind::optimizer: return "optimizer";
    case MemoryKind::activations: return "activations";
    case MemoryKind::communication: return "communication";
  }
  return "";
}

std::unique_ptr<MemorySource> host_memory() { return std::make_unique<HostMemory>(); }

CachingAllocator::CachingAllocator(std::unique_ptr<MemorySource> source) : source_(std::move(source)) {}

CachingAllocator::~CachingAllocator() {
  for (auto& [start, bytes] : segments_) source_->release(start, bytes);
}

void CachingAllocator::forget_free(Blocks::iterator block) {
  free_.erase({block->second.bytes, block->first});
}

CachingAllocator::Blocks::iterator CachingAllocator::grow(size_t bytes) {
  const size_t size = round_up(std::max(bytes, kSegment), kHugePage);
  char* segment = static_cast<char*>(source_->allocate(size));
  segments_[segment] = size;
  reserved_ += static_cast<int64_t>(size);
  auto block = blocks_.emplace(segment, Block{size, MemoryKind::activations, true, segment}).first;
  free_.insert({size, segment});
  return block;
}

void* CachingAllocator::allocate(size_t asked, MemoryKind kind) {
  const size_t bytes = round_up(std::max<size_t>(asked, 1), kAlign);
  allocations_->fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  auto fit = free_.lower_bound({bytes, nullptr});
  auto block = fit == free_.end() ? grow(bytes) : blocks_.find(fit->second);
  forget_free(block);
  if (const size_t rest = block->second.bytes - bytes; rest > 0) {
    char* tail = block->first + bytes;
    blocks_.emplace(tail, Block{rest, MemoryKind::activations, true, block->second.segment});
    free_.insert({rest, tail});
    block->second.bytes = bytes;
  }
  block->second.free = false;
  block->second.kind = kind;
  for (Stats* stats : {&total_, &by_kind_[static_cast<size_t>(kind)]}) {
    stats->current += static_cast<int64_t>(bytes);
    stats->peak = std::max(stats->peak, stats->current);
  }
  return block->first;
}

void CachingAllocator::release(void* memory) noexcept {
  std::lock_guard lock(mutex_);
  auto block = blocks_.find(static_cast<char*>(memory));
  if (block == blocks_.end() || block->second.free) return;
  for (Stats* stats : {&total_, &by_kind_[static_cast<size_t>(block->second.kind)]})
    stats->current -= static_cast<int64_t>(block->second.bytes);
  block->second.free = true;
  // Merge with free neighbours of the same segment.
  if (auto next = std::next(block); next != blocks_.end() && next->second.free &&
                                    next->second.segment == block->second.segment) {
    forget_free(next);
    block->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (block != blocks_.begin()) {
    if (auto before = std::prev(block); before->second.free && before->second.segment == block->second.segment) {
      forget_free(before);
      before->second.bytes += block->second.bytes;
      blocks_.erase(block);
      block = before;
    }
  }
  free_.insert({block->second.bytes, block->first});
}

CachingAllocator::Stats CachingAllocator::stats() const {
  std::lock_guard lock(mutex_);
  return total_;
}

CachingAllocator::Stats CachingAllocator::stats(MemoryKind kind) const {
  std::lock_guard lock(mutex_);
  return by_kind_[static_cast<size_t>(kind)];
}

int64_t CachingAllocator::reserved() const {
  std::lock_guard lock(mutex_);
  return reserved_;
}

void CachingAllocator::reset_peaks() {
  std::lock_guard lock(mutex_);
  total_.peak = total_.current;
  for (Stats& stats : by_kind_) stats.peak = stats.current;
}

}  // namespace pscale
