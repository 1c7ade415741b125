#include "core/ops/blend.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

constexpr int64_t kBlock = 256;  // columns that are summed at a time

/// y [columns] = sum over j of weights[j] rows[j]; in blocks, so that the inner loop runs along the columns.
template <class T, class W>
inline void weighted_sum(const T* __restrict rows, const W* weights, T* __restrict y, int64_t count, int64_t columns) {
  acc<T> sums[kBlock];
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    const int64_t width = columns - begin < kBlock ? columns - begin : kBlock;
    for (int64_t c = 0; c < width; ++c) sums[c] = 0;
    for (int64_t j = 0; j < count; ++j) {
      const acc<T> weight = load(weights[j]);
      const T* __restrict row = rows + j * columns + begin;
      for (int64_t c = 0; c < width; ++c) sums[c] += weight * load(row[c]);
    }
    for (int64_t c = 0; c < width; ++c) y[begin + c] = store<T>(sums[c]);
  }
}

void shares(DType type, const void* score, void* out, int64_t tokens, int64_t replicas, double smooth) {
  typed(type, [&]<class T>(T) {
    using A = acc<T>;
    const A keep = static_cast<A>(1 - smooth), floor = static_cast<A>(smooth / static_cast<double>(replicas));
#pragma omp parallel for schedule(static) if (tokens * replicas >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const T* s = static_cast<const T*>(score) + t * replicas;
      T* y = static_cast<T*>(out) + t * replicas;
      A most = load(s[0]);
      for (int64_t j = 1; j < replicas; ++j) most = load(s[j]) > most ? load(s[j]) : most;
      A sum = 0;
      for (int64_t j = 0; j < replicas; ++j) sum += exponential(load(s[j]) - most);
      for (int64_t j = 0; j < replicas; ++j) y[j] = store<T>(exponential(load(s[j]) - most) / sum * keep + floor);
    }
  });
}

void shares_backward(DType type, const void* shares, const void* dshares, void* dscore, int64_t tokens, int64_t replicas,
                     double smooth) {
  typed(type, [&]<class T>(T) {
    using A = acc<T>;
    const A keep = static_cast<A>(1 - smooth), floor = static_cast<A>(smooth / static_cast<double>(replicas));
    for (int64_t t = 0; t < tokens; ++t) {
      const T* y = static_cast<const T*>(shares) + t * replicas;
      const T* d = static_cast<const T*>(dshares) + t * replicas;
      T* ds = static_cast<T*>(dscore) + t * replicas;
      // keep * softmax = share - floor, which also holds for smooth = 1.
      A dot = 0;
      for (int64_t j = 0; j < replicas; ++j) dot += load(d[j]) * (load(y[j]) - floor);
      for (int64_t j = 0; j < replicas; ++j) {
        const A scaled = load(y[j]) - floor;
        ds[j] = store<T>(keep == 0 ? 0 : scaled * (load(d[j]) - dot / keep));
      }
    }
  });
}

void blend(DType type, const void* x, const void* shares, void* out, int64_t tokens, int64_t local, int64_t columns,
           int64_t replicas, int64_t first) {
  typed(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (tokens * local * columns >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t)
      weighted_sum(static_cast<const T*>(x) + t * local * columns, static_cast<const T*>(shares) + t * replicas + first,
                   static_cast<T*>(out) + t * columns, local, columns);
  });
}

void blend_backward(DType type, const void* x, const void* shares, const void* dout, void* dx, void* dshares,
                    int64_t tokens, int64_t local, int64_t columns, int64_t replicas, int64_t first) {
  typed(type, [&]<class T>(T) {
    using A = acc<T>;
#pragma omp parallel for schedule(static) if (tokens * local * columns >= kParallelElements)
    for (int64_t t = 0; t < tokens; ++t) {
      const T* s = static_cast<const T*>(shares) + t * replicas + first;
      const T* __restrict d = static_cast<const T*>(dout) + t * columns;
      if (dx != nullptr)
        for (int64_t j = 0; j < local; ++j) {
          T* __restrict g = static_cast<T*>(dx) + (t * local + j) * columns;
          const A share = load(s[j]);
          for (int64_t c = 0; c < columns; ++c) g[c] = store<T>(share * load(d[c]));
        }
      if (dshares == nullptr) continue;
      T* ds = static_cast<T*>(dshares) + t * replicas;
      for (int64_t j = 0; j < replicas; ++j) ds[j] = store<T>(0);
      for (int64_t j = 0; j < local; ++j) {
        const T* __restrict row = static_cast<const T*>(x) + (t * local + j) * columns;
        A dot = 0;
        for (int64_t c = 0; c < columns; ++c) dot += load(row[c]) * load(d[c]);
        ds[first + j] = store<T>(dot);
      }
    }
  });
}

double entropy(DType type, const void* shares, int64_t tokens, int64_t replicas) {
  double total = 0;
  typed(type, [&]<class T>(T) {
    const T* s = static_cast<const T*>(shares);
    for (int64_t i = 0; i < tokens * replicas; ++i) {
      const double p = static_cast<double>(load(s[i]));
      if (p > 0) total -= p * __builtin_log(p);
    }
  });
  return total;
}

void directions(DType type, const void* x, void* out, int64_t tokens, int64_t local, int64_t columns) {
  typed(type, [&]<class T>(T) {
    using A = acc<T>;
    A* scale = static_cast<A*>(__builtin_alloca(static_cast<size_t>(local) * sizeof(A)));
    for (int64_t t = 0; t < tokens; ++t) {
      const T* __restrict rows = static_cast<const T*>(x) + t * local * columns;
      for (int64_t j = 0; j < local; ++j) {
        A squares = 0;
        for (int64_t c = 0; c < columns; ++c) squares += load(rows[j * columns + c]) * load(rows[j * columns + c]);
        scale[j] = squares > 0 ? static_cast<A>(1 / __builtin_sqrt(static_cast<double>(squares))) : 0;
      }
      weighted_sum(rows, scale, static_cast<T*>(out) + t * columns, local, columns);
    }
  });
}

constexpr BlendKernels table{shares, shares_backward, blend, blend_backward, entropy, directions};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(BlendKernels, table)
