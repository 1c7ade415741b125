#include "core/ops/swiglu.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

template <class A>
inline A sigmoid(A x) {
  return 1 / (1 + exponential(-x));
}

/// d silu(x) / dx = s (1 + x (1 - s)), s = sigmoid(x)
template <class A>
inline A silu_slope(A x, A s) {
  return s * (1 + x * (1 - s));
}

void forward(DType type, const void* gate_up, void* out, int64_t rows, int64_t columns) {
  typed(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      const T* __restrict gate = static_cast<const T*>(gate_up) + r * 2 * columns;
      const T* __restrict up = gate + columns;
      T* __restrict y = static_cast<T*>(out) + r * columns;
      for (int64_t c = 0; c < columns; ++c) {
        const acc<T> g = load(gate[c]);
        y[c] = store<T>(g * sigmoid(g) * load(up[c]));
      }
    }
  });
}

void backward(DType type, const void* gate_up, const void* dout, void* dgate_up, int64_t rows, int64_t columns) {
  typed(type, [&]<class T>(T) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelElements)
    for (int64_t r = 0; r < rows; ++r) {
      // dgate_up may be gate_up: each element is read before it is written.
      const T* gate = static_cast<const T*>(gate_up) + r * 2 * columns;
      const T* up = gate + columns;
      const T* dy = static_cast<const T*>(dout) + r * columns;
      T* dgate = static_cast<T*>(dgate_up) + r * 2 * columns;
      T* dup = dgate + columns;
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) {
        const acc<T> g = load(gate[c]), u = load(up[c]), d = load(dy[c]), s = sigmoid(g);
        dgate[c] = store<T>(d * u * silu_slope(g, s));
        dup[c] = store<T>(d * g * s);
      }
    }
  });
}

void silu(DType type, const void* x, void* y, int64_t elements) {
  typed(type, [&]<class T>(T) {
    const T* __restrict from = static_cast<const T*>(x);
    T* __restrict to = static_cast<T*>(y);
#pragma omp parallel for simd schedule(static) if (elements >= kParallelElements)
    for (int64_t i = 0; i < elements; ++i) {
      const acc<T> v = load(from[i]);
      to[i] = store<T>(v * sigmoid(v));
    }
  });
}

void silu_backward(DType type, const void* x, const void* dy, void* dx, int64_t elements) {
  typed(type, [&]<class T>(T) {
    const T* __restrict from = static_cast<const T*>(x);
    const T* __restrict d = static_cast<const T*>(dy);
    T* __restrict to = static_cast<T*>(dx);
#pragma omp parallel for simd schedule(static) if (elements >= kParallelElements)
    for (int64_t i = 0; i < elements; ++i) {
      const acc<T> v = load(from[i]);
      to[i] = store<T>(load(d[i]) * silu_slope(v, sigmoid(v)));
    }
  });
}

constexpr SwigluKernels table{forward, backward, silu, silu_backward};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(SwigluKernels, table)
