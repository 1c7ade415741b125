#include "core/ops/cross_entropy.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

// Logits are float32 or float64: their accumulation types.
template <class F>
void real(DType type, F&& f) {
  if (type == DType::float64) {
    f(double{});
  } else {
    f(float{});
  }
}

/// 1 where x is not finite, 0 elsewhere: by its bits, since x * 0 may be reordered away.
inline uint32_t not_finite(float x) {
  uint32_t word;
  __builtin_memcpy(&word, &x, 4);
  return (word & 0x7f800000u) == 0x7f800000u;
}
inline uint64_t not_finite(double x) {
  uint64_t word;
  __builtin_memcpy(&word, &x, 8);
  return (word & 0x7ff0000000000000u) == 0x7ff0000000000000u;
}

void statistics(DType type, const void* logits, const int32_t* targets, void* out, int64_t rows, int64_t columns,
                int64_t first, int64_t valid) {
  real(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      const T* __restrict x = static_cast<const T*>(logits) + r * columns;
      T* s = static_cast<T*>(out) + r * 3;
      const T most = largest(x, valid, -static_cast<T>(__builtin_inf()));
      T sum = 0;
      decltype(not_finite(sum)) bad = 0;
      for (int64_t c = 0; c < valid; ++c) {
        sum += exponential(x[c] - most);
        bad |= not_finite(x[c]);
      }
      const int64_t target = targets[r] - first;
      s[0] = most;
      s[1] = bad != 0 ? static_cast<T>(__builtin_nan("")) : sum;
      s[2] = targets[r] >= 0 && target >= 0 && target < valid ? x[target] : 0;
    }
  });
}

void combine(DType type, const void* in, void* lse, void* target_logit, int64_t parts, int64_t rows) {
  real(type, [&]<class T>(T) {
    for (int64_t r = 0; r < rows; ++r) {
      const T* s = static_cast<const T*>(in) + r * 3;
      T most = s[0];
      for (int64_t p = 1; p < parts; ++p) most = s[p * rows * 3] > most ? s[p * rows * 3] : most;
      T sum = 0, target = 0;
      for (int64_t p = 0; p < parts; ++p) {
        const T* part = s + p * rows * 3;
        if (part[1] != 0) sum += part[1] * static_cast<T>(__builtin_exp(static_cast<double>(part[0] - most)));
        target += part[2];
      }
      static_cast<T*>(lse)[r] = most + static_cast<T>(__builtin_log(static_cast<double>(sum)));
      static_cast<T*>(target_logit)[r] = target;
    }
  });
}

double sum(DType type, const void* lse, const void* target_logit, const int32_t* targets, int64_t rows) {
  double total = 0;
  real(type, [&]<class T>(T) {
    for (int64_t r = 0; r < rows; ++r)
      if (targets[r] >= 0)
        total += static_cast<double>(static_cast<const T*>(lse)[r]) - static_cast<const T*>(target_logit)[r];
  });
  return total;
}

void gradient(DType type, void* logits, const void* lse, const int32_t* targets, double scale, int64_t rows,
              int64_t columns, int64_t first, int64_t valid) {
  real(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      T* __restrict x = static_cast<T*>(logits) + r * columns;
      if (targets[r] < 0) {
        __builtin_memset(x, 0, static_cast<size_t>(columns) * sizeof(T));
        continue;
      }
      const T log_sum = static_cast<const T*>(lse)[r], factor = static_cast<T>(scale);
      for (int64_t c = 0; c < valid; ++c) x[c] = exponential(x[c] - log_sum) * factor;
      for (int64_t c = valid; c < columns; ++c) x[c] = 0;
      const int64_t target = targets[r] - first;
      if (target >= 0 && target < valid) x[target] -= factor;
    }
  });
}

constexpr CrossEntropyKernels table{statistics, combine, sum, gradient};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(CrossEntropyKernels, table)
