#include "core/tensor/accumulate.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

template <bool add>
void combine(DType into_type, void* into, int64_t into_stride, DType part_type, const void* part,
             int64_t part_stride, int64_t rows, int64_t columns) {
  if (into_stride == columns && part_stride == columns) {  // one long row, cut evenly below
    constexpr int64_t kCut = 4096;
    if (rows * columns % kCut == 0) {
      rows = rows * columns / kCut;
      into_stride = part_stride = columns = kCut;
    }
  }
  typed(into_type, [&]<class I>(I) {
    typed(part_type, [&]<class P>(P) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
      for (int64_t r = 0; r < rows; ++r) {
        I* __restrict a = static_cast<I*>(into) + r * into_stride;
        const P* __restrict b = static_cast<const P*>(part) + r * part_stride;
        for (int64_t c = 0; c < columns; ++c) {
          const acc<I> value = static_cast<acc<I>>(load(b[c]));
          a[c] = store<I>(add ? load(a[c]) + value : value);
        }
      }
    });
  });
}

constexpr AccumulateKernels table{combine<true>, combine<false>};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(AccumulateKernels, table)
