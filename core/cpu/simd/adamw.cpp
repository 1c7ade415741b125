#include "core/ops/adamw.h"

#include <stdlib.h>

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

constexpr int64_t kBlock = 8192;  // elements of a row that are one piece of work

template <class T, bool copies>
void update_block(T* __restrict w, T* __restrict m, T* __restrict v, const T* __restrict g, bf16* __restrict copy,
                  int64_t count, const AdamWStep& s) {
  const T b1 = static_cast<T>(s.beta1), b2 = static_cast<T>(s.beta2), rest1 = static_cast<T>(1 - s.beta1),
          rest2 = static_cast<T>(1 - s.beta2), scale = static_cast<T>(s.gradient_scale), eps = static_cast<T>(s.eps),
          decay = static_cast<T>(1 - s.rate * s.weight_decay), rate = static_cast<T>(s.rate / s.correction1),
          root = static_cast<T>(1 / s.correction2);
  for (int64_t i = 0; i < count; ++i) {
    const T d = g[i] * scale;
    m[i] = b1 * m[i] + rest1 * d;
    v[i] = b2 * v[i] + rest2 * d * d;
    const T denominator = (sizeof(T) == 8 ? static_cast<T>(__builtin_sqrt(v[i] * root))
                                          : static_cast<T>(__builtin_sqrtf(static_cast<float>(v[i] * root)))) + eps;
    w[i] = w[i] * decay - rate * m[i] / denominator;
    if constexpr (copies) copy[i] = store<bf16>(static_cast<float>(w[i]));
  }
}

template <class T>
void update_all(T* weight, int64_t stride, T* first, T* second, const T* gradient, int64_t gradient_stride, bf16* copy,
                int64_t copy_stride, int64_t rows, int64_t columns, const AdamWStep& step) {
  const int64_t blocks = (columns + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
  for (int64_t piece = 0; piece < rows * blocks; ++piece) {
    const int64_t r = piece / blocks, begin = piece % blocks * kBlock;
    const int64_t count = columns - begin < kBlock ? columns - begin : kBlock, dense = r * columns + begin;
    T* w = weight + r * stride + begin;
    const T* g = gradient + r * gradient_stride + begin;
    if (copy != nullptr) {
      update_block<T, true>(w, first + dense, second + dense, g, copy + r * copy_stride + begin, count, step);
    } else {
      update_block<T, false>(w, first + dense, second + dense, g, nullptr, count, step);
    }
  }
}

void update(DType type, void* weight, int64_t stride, void* first, void* second, const void* gradient,
            int64_t gradient_stride, void* copy, int64_t copy_stride, int64_t rows, int64_t columns,
            const AdamWStep& step) {
  const auto go = [&]<class T>(T) {
    update_all(static_cast<T*>(weight), stride, static_cast<T*>(first), static_cast<T*>(second),
               static_cast<const T*>(gradient), gradient_stride, static_cast<bf16*>(copy), copy_stride, rows, columns, step);
  };
  if (type == DType::float64) {
    go(double{});
  } else {
    go(float{});
  }
}

double sum_of_squares(DType type, const void* x, int64_t stride, int64_t rows, int64_t columns) {
  const int64_t blocks = (columns + kBlock - 1) / kBlock, pieces = rows * blocks;
  double* sums = static_cast<double*>(malloc(static_cast<size_t>(pieces + 1) * sizeof(double)));
  typed(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t r = piece / blocks, begin = piece % blocks * kBlock;
      const int64_t count = columns - begin < kBlock ? columns - begin : kBlock;
      const T* __restrict values = static_cast<const T*>(x) + r * stride + begin;
      double sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        const double v = static_cast<double>(load(values[i]));
        sum += v * v;
      }
      sums[piece] = sum;
    }
  });
  double total = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) total += sums[piece];
  free(sums);
  return total;
}

constexpr AdamWKernels table{update, sum_of_squares};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(AdamWKernels, table)
