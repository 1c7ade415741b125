// How an operator reaches its kernels. An operator family owns a struct of function pointers, its kernel
// interface (declared in its header in core/ops). Each device defines one value of it:
//
//   core/cpu/simd/X.cpp   is compiled once per instruction set and ends with PSCALE_CPU_KERNELS(XKernels, table)
//   core/cuda/X.cu        defines  template <> const XKernels& cuda_kernels<XKernels>()
//
// Nothing is registered: a kernel that is missing is a link error. A new operator changes no other file.
#pragma once

#include "core/tensor/device.h"

namespace pscale {

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
