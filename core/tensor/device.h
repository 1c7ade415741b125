// A computing device of this process: its kind, the instruction set of its kernels, and its memory.
// Made in main, outlives every tensor on it; passed, never looked up.
#pragma once

#include <memory>
#include <string>

#include "core/tensor/allocator.h"

namespace pscale {

enum class DeviceKind : uint8_t { cpu, cuda };

/// The instruction sets the CPU kernels are compiled for: x86-64-v3 and x86-64-v4.
enum class Isa : uint8_t { avx2, avx512 };

class Device {
 public:
  /// The CPU with the best instruction set it has. Throws UserError where it has no AVX2.
  static Device cpu();
  /// The CPU with a given instruction set, so that a test can run both. Throws UserError where it is missing.
  static Device cpu(Isa isa);
  /// CUDA device `index`. Throws UserError in a build without CUDA.
  static Device cuda(int index);

  /// A device that only plans: tensors take address space but, untouched, no memory; kernels do nothing. The allocator
  /// counts as if they did. What `--dry-run` runs on.
  static Device planning();

  Device(Device&&) = default;

  DeviceKind kind() const { return kind_; }
  Isa isa() const { return isa_; }
  int index() const { return index_; }
  bool plans_only() const { return plans_only_; }
  CachingAllocator& allocator() const { return *allocator_; }
  /// Waits until all kernels given to this device have ended. Nothing to do on CPU.
  void synchronize() const {}
  std::string name() const;

 private:
  Device(DeviceKind kind, Isa isa, int index, std::unique_ptr<CachingAllocator> allocator)
      : kind_(kind), isa_(isa), index_(index), allocator_(std::move(allocator)) {}
  DeviceKind kind_;
  Isa isa_;
  int index_;
  bool plans_only_ = false;
  std::unique_ptr<CachingAllocator> allocator_;
};

}  // namespace pscale
