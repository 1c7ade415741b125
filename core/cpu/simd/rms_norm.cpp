#include "core/ops/rms_norm.h"

#include <omp.h>
#include <stdlib.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

template <class T>
void forward_rows(const T* x, const T* w, T* y, acc<T>* scale, int64_t rows, int64_t columns, double eps) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
  for (int64_t r = 0; r < rows; ++r) {
    const T* __restrict xr = x + r * columns;
    T* __restrict yr = y + r * columns;
    acc<T> sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += load(xr[c]) * load(xr[c]);
    const acc<T> s = 1 / __builtin_sqrt(static_cast<double>(sum) / static_cast<double>(columns) + eps);
    scale[r] = s;
    for (int64_t c = 0; c < columns; ++c) yr[c] = store<T>(load(w[c]) * (load(xr[c]) * s));
  }
}

// With u = x s: dx = s (w dy - u mean(w dy u)), dw = sum over rows of dy u.
template <class T, bool add>
void backward_row(const T* __restrict x, const T* __restrict w, const T* __restrict dy, T* __restrict dx, acc<T> s,
                  int64_t columns) {
  acc<T> dot = 0;
  for (int64_t c = 0; c < columns; ++c) dot += load(w[c]) * load(dy[c]) * load(x[c]);
  const acc<T> mean = dot * s * s / static_cast<acc<T>>(columns);
  for (int64_t c = 0; c < columns; ++c) {
    const acc<T> value = s * (load(w[c]) * load(dy[c]) - load(x[c]) * mean);
    dx[c] = store<T>(add ? load(dx[c]) + value : value);
  }
}

template <class T, class W>
void backward_rows(const T* x, const T* w, const acc<T>* scale, const T* dy, T* dx, bool add_dx, W* dweight,
                   bool add_dweight, int64_t rows, int64_t columns) {
  const int threads = rows * columns >= kParallelElements ? omp_get_max_threads() : 1;
  // One row of partial sums per thread, added in thread order: the same bits for the same number of threads.
  acc<T>* partial = nullptr;
  if (dweight != nullptr) partial = static_cast<acc<T>*>(calloc(threads * columns + 1, sizeof(acc<T>)));
#pragma omp parallel num_threads(threads)
  {
    const int64_t me = omp_get_thread_num(), all = omp_get_num_threads();
    const int64_t begin = rows * me / all, end = rows * (me + 1) / all;
    acc<T>* __restrict sums = partial + me * columns;
    for (int64_t r = begin; r < end; ++r) {
      const T* __restrict xr = x + r * columns;
      const T* __restrict dr = dy + r * columns;
      const acc<T> s = scale[r];
      if (dx != nullptr) {
        if (add_dx) {
          backward_row<T, true>(xr, w, dr, dx + r * columns, s, columns);
        } else {
          backward_row<T, false>(xr, w, dr, dx + r * columns, s, columns);
        }
      }
      if (dweight != nullptr)
        for (int64_t c = 0; c < columns; ++c) sums[c] += load(dr[c]) * load(xr[c]) * s;
    }
  }
  if (dweight == nullptr) return;
  for (int64_t c = 0; c < columns; ++c) {
    acc<T> sum = 0;
    for (int64_t t = 0; t < threads; ++t) sum += partial[t * columns + c];
    const acc<W> value = static_cast<acc<W>>(sum);
    dweight[c] = store<W>(add_dweight ? load(dweight[c]) + value : value);
  }
  free(partial);
}

void forward(DType type, const void* x, const void* weight, void* y, void* scale, int64_t rows, int64_t columns,
             double eps) {
  typed(type, [&]<class T>(T) {
    forward_rows(static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<T*>(y),
                 static_cast<acc<T>*>(scale), rows, columns, eps);
  });
}

void backward(DType type, const void* x, const void* weight, const void* scale, const void* dy, void* dx, bool add_dx,
              DType dweight_type, void* dweight, bool add_dweight, int64_t rows, int64_t columns) {
  typed(type, [&]<class T>(T) {
    typed(dweight_type, [&]<class W>(W) {
      backward_rows(static_cast<const T*>(x), static_cast<const T*>(weight), static_cast<const acc<T>*>(scale),
                    static_cast<const T*>(dy), static_cast<T*>(dx), add_dx, static_cast<W*>(dweight), add_dweight,
                    rows, columns);
    });
  });
}

constexpr RmsNormKernels table{forward, backward};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(RmsNormKernels, table)
