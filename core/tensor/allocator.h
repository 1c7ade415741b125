// Memory of one device, cached: freed blocks are kept, split and merged, so that a training step asks the
// operating system for nothing after the first. Counts what is held, by kind. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>
#include <unordered_map>

namespace pscale {

/// What a block is for; the rows of the memory table of `--dry-run`.
enum class MemoryKind : uint8_t { weights, gradients, optimizer, activations, communication };
inline constexpr int kMemoryKinds = 5;
std::string_view name_of(MemoryKind kind);

/// Where the cached memory comes from: the operating system, or a CUDA device.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  /// `bytes` of memory, aligned to 64 bytes or more. Throws UserError where there is not that much.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* block, size_t bytes) noexcept = 0;
};

/// Host memory from mmap, with huge pages where the kernel gives them. Pages count as used once touched.
std::unique_ptr<MemorySource> host_memory();

class CachingAllocator {
 public:
  /// Bytes asked for (rounded to 64), now and at most.
  struct Stats {
    int64_t current = 0;
    int64_t peak = 0;
  };

  explicit CachingAllocator(std::unique_ptr<MemorySource> source);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// A block of at least `bytes` bytes, aligned to 64. `bytes` 0 gives a valid block.
  void* allocate(size_t bytes, MemoryKind kind);
  void release(void* block) noexcept;

  Stats stats() const;                  ///< over all kinds
  Stats stats(MemoryKind kind) const;   ///< of one kind; its peak need not coincide with the others'
  /// How many blocks were ever given out; readable at any time, also when the allocator is gone. Every operator takes some.
  std::shared_ptr<const std::atomic<uint64_t>> allocations() const { return allocations_; }
  int64_t reserved() const;             ///< bytes taken from the source
  /// Sets every peak to the current value.
  void reset_peaks();

 private:
  struct Block {
    size_t bytes;
    MemoryKind kind;
    bool free;
    char* segment;
  };
  using Blocks = std::map<char*, Block>;
  void forget_free(Blocks::iterator block);
  Blocks::iterator grow(size_t bytes);

  mutable std::mutex mutex_;
  std::unique_ptr<MemorySource> source_;
  Blocks blocks_;                                ///< every block, by address
  std::set<std::pair<size_t, char*>> free_;      ///< the free ones, by size: best fit first
  std::unordered_map<char*, size_t> segments_;
  Stats total_;
  std::array<Stats, kMemoryKinds> by_kind_{};
  int64_t reserved_ = 0;
  std::shared_ptr<std::atomic<uint64_t>> allocations_ = std::make_shared<std::atomic<uint64_t>>(0);
};

}  // namespace pscale
