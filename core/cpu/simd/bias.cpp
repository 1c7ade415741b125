#include "core/ops/bias.h"

#include <omp.h>
#include <stdlib.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

void add(DType type, void* x, const void* bias, int64_t rows, int64_t columns) {
  typed(type, [&]<class T>(T) {
    const T* __restrict b = static_cast<const T*>(bias);
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      T* __restrict row = static_cast<T*>(x) + r * columns;
      for (int64_t c = 0; c < columns; ++c) row[c] = store<T>(load(row[c]) + load(b[c]));
    }
  });
}

template <class T, class S>
void sum_columns(const T* x, int64_t stride, S* sums, bool accumulate, int64_t rows, int64_t columns) {
  const int threads = rows * columns >= kParallelElements ? omp_get_max_threads() : 1;
  acc<T>* partial = static_cast<acc<T>*>(calloc(static_cast<size_t>(threads * columns + 1), sizeof(acc<T>)));
#pragma omp parallel num_threads(threads)
  {
    const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
    acc<T>* __restrict own = partial + me * columns;
    for (int64_t r = rows * me / all; r < rows * (me + 1) / all; ++r) {
      const T* __restrict row = x + r * stride;
      for (int64_t c = 0; c < columns; ++c) own[c] += load(row[c]);
    }
  }
  for (int64_t c = 0; c < columns; ++c) {
    acc<T> sum = 0;
    for (int64_t t = 0; t < threads; ++t) sum += partial[t * columns + c];
    const acc<S> value = static_cast<acc<S>>(sum);
    sums[c] = store<S>(accumulate ? load(sums[c]) + value : value);
  }
  free(partial);
}

void column_sums(DType type, const void* x, int64_t stride, DType sums_type, void* sums, bool accumulate, int64_t rows,
                 int64_t columns) {
  typed(type, [&]<class T>(T) {
    typed(sums_type, [&]<class S>(S) {
      sum_columns(static_cast<const T*>(x), stride, static_cast<S*>(sums), accumulate, rows, columns);
    });
  });
}

constexpr BiasKernels table{add, column_sums};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(BiasKernels, table)
