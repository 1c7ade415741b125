// How an operator reaches its kernels. An operator family owns a struct of Kernel<...> members, its kernel
// interface (declared in its header in core/ops). Each device defines one value of it:
//
//   core/cpu/simd/X.cpp   is compiled once per instruction set and ends with PSCALE_CPU_KERNELS(XKernels, table)
//   core/cuda/X.cu        defines  template <> const XKernels& cuda_kernels<XKernels>()
//
// Nothing is registered: a kernel that is missing is a link error. A new operator changes no other file. On a planning
// device every kernel is empty: the program runs, takes the memory it would take, and computes nothing.
#pragma once

#include "core/tensor/device.h"

namespace pscale {

/// A function pointer that does nothing, and returns zero, where it is empty.
template <class Signature>
class Kernel;
template <class Result, class... Args>
class Kernel<Result(Args...)> {
 public:
  constexpr Kernel() = default;
  constexpr Kernel(Result (*function)(Args...)) : function_(function) {}
  Result operator()(Args... args) const {
    if (function_ == nullptr) return Result();
    return function_(args...);
  }

 private:
  Result (*function_)(Args...) = nullptr;
};

template <class Kernels, Isa isa>
const Kernels& isa_kernels();

#ifdef PSCALE_CUDA
template <class Kernels>
const Kernels& cuda_kernels();
#else
[[noreturn]] void throw_without_cuda();
template <class Kernels>
const Kernels& cuda_kernels() {
  throw_without_cuda();
}
#endif

template <class Kernels>
const Kernels& kernels(const Device& device) {
  static constexpr Kernels kNothing{};
  if (device.plans_only()) return kNothing;
  if (device.kind() == DeviceKind::cuda) return cuda_kernels<Kernels>();
  return device.isa() == Isa::avx512 ? isa_kernels<Kernels, Isa::avx512>() : isa_kernels<Kernels, Isa::avx2>();
}

}  // namespace pscale

#ifdef PSCALE_ISA
/// Ends a file of core/cpu/simd: `table` is the constant of type `Kernels` defined in namespace cpu::PSCALE_ISA.
#define PSCALE_CPU_KERNELS(Kernels, table)                             \
  namespace pscale {                                                   \
  template <>                                                          \
  const Kernels& isa_kernels<Kernels, Isa::PSCALE_ISA>() {             \
    return cpu::PSCALE_ISA::table;                                     \
  }                                                                    \
  }
#endif
