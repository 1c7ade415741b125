#include "core/ops/embedding.h"

#include <omp.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

void forward(DType type, const void* table, const int32_t* tokens, void* out, int64_t count, int64_t first_row,
             int64_t rows, int64_t columns) {
  const int64_t width = columns * size_of(type);
#pragma omp parallel for schedule(static) if (count * columns >= kParallelElements)
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = tokens[i] - first_row;
    char* to = static_cast<char*>(out) + i * width;
    if (tokens[i] < 0 || row < 0 || row >= rows) {
      __builtin_memset(to, 0, static_cast<size_t>(width));
    } else {
      __builtin_memcpy(to, static_cast<const char*>(table) + row * width, static_cast<size_t>(width));
    }
  }
}

// Threads share the columns, so that every row is summed by one thread in token order.
void backward(DType type, const void* dout, const int32_t* tokens, DType sums_type, void* dtable, int64_t count,
              int64_t first_row, int64_t rows, int64_t columns) {
  typed(type, [&]<class T>(T) {
    typed(sums_type, [&]<class S>(S) {
      const int threads = count * columns >= kParallelElements ? omp_get_max_threads() : 1;
#pragma omp parallel num_threads(threads)
      {
        const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
        const int64_t begin = columns * me / all, end = columns * (me + 1) / all;
        for (int64_t i = 0; i < count; ++i) {
          const int64_t row = tokens[i] - first_row;
          if (tokens[i] < 0 || row < 0 || row >= rows) continue;
          S* __restrict to = static_cast<S*>(dtable) + row * columns;
          const T* __restrict from = static_cast<const T*>(dout) + i * columns;
          for (int64_t c = begin; c < end; ++c) to[c] = store<S>(load(to[c]) + static_cast<acc<S>>(load(from[c])));
        }
      }
    });
  });
}

constexpr EmbeddingKernels table{forward, backward};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(EmbeddingKernels, table)
