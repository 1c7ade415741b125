#include "core/ops/shape.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

void swap_dims(DType type, const void* in, void* out, int64_t outer, int64_t a, int64_t b) {
  typed(type, [&]<class T>(T) {
    const T* from = static_cast<const T*>(in);
    T* to = static_cast<T*>(out);
#pragma omp parallel for schedule(static) if (outer * a * b >= kParallelElements)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < b; ++i)
        for (int64_t j = 0; j < a; ++j) to[(o * b + i) * a + j] = from[(o * a + j) * b + i];
  });
}

constexpr ShapeKernels table{swap_dims};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(ShapeKernels, table)
