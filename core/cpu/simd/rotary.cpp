#include "core/ops/rotary.h"

#include "core/cpu/simd/typed.h"

namespace pscale::cpu::PSCALE_ISA {
namespace {

// y_i = x_i cos_i - x_{i+h} sin_i and y_{i+h} = x_{i+h} cos_{i+h} + x_i sin_{i+h} with h = D/2. In the half layout the
// angle of i + h is that of i; interleaved, element j has the angle j / 2.
template <class T, bool transposed>
void rotate_rows(const RotaryArgs& a) {
  using A = acc<T>;
  const int64_t half = a.head_dim / 2;
  const bool interleaved = a.layout == RotaryLayout::interleaved;
#pragma omp parallel for schedule(static) if (a.rows * a.heads * a.head_dim >= kParallelElements)
  for (int64_t r = 0; r < a.rows; ++r) {
    T* row = static_cast<T*>(a.x) + r * a.columns + a.first_column;
    const A* __restrict cos = static_cast<const A*>(a.cos) + a.index[r] * half;
    const A* __restrict sin = static_cast<const A*>(a.sin) + a.index[r] * half;
    for (int64_t h = 0; h < a.heads; ++h) {
      T* __restrict low = row + h * a.head_dim;
      T* __restrict high = low + half;
      if (!interleaved) {
        for (int64_t i = 0; i < half; ++i) {
          const A x = load(low[i]), y = load(high[i]), s = transposed ? -sin[i] : sin[i];
          low[i] = store<T>(x * cos[i] - y * s);
          high[i] = store<T>(y * cos[i] + x * s);
        }
      } else {
        for (int64_t i = 0; i < half; ++i) {
          const int64_t p = i / 2, q = (i + half) / 2;
          const A x = load(low[i]), y = load(high[i]);
          low[i] = store<T>(transposed ? x * cos[p] + y * sin[q] : x * cos[p] - y * sin[p]);
          high[i] = store<T>(transposed ? y * cos[q] - x * sin[p] : y * cos[q] + x * sin[q]);
        }
      }
    }
  }
}

void rotate(const RotaryArgs& args) {
  typed(args.type, [&]<class T>(T) {
    if (args.transposed) {
      rotate_rows<T, true>(args);
    } else {
      rotate_rows<T, false>(args);
    }
  });
}

constexpr RotaryKernels table{rotate};

}  // namespace
}  // namespace pscale::cpu::PSCALE_ISA

PSCALE_CPU_KERNELS(RotaryKernels, table)
