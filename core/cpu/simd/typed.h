// What the kernel files of core/cpu/simd share: entering typed code, and loops over rows.
//
// Kernel files see raw pointers only and use no std:: functions with code of their own: an inline function compiled
// for AVX-512 here could be picked by the linker for a machine without it. Everything lives in a namespace named
// after the instruction set, and a test holds the objects to that.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/tensor/dtype.h"

namespace pscale::cpu::PSCALE_ISA {

// Local twin of pscale::bfloat16, so that its members are compiled into this namespace.
struct bf16 {
  uint16_t bits;
};

template <class T>
struct accumulator {
  using type = float;
};
template <>
struct accumulator<double> {
  using type = double;
};
/// float for float and bf16, double for double.
template <class T>
using acc = typename accumulator<T>::type;

inline float load(float x) { return x; }
inline double load(double x) { return x; }
inline float load(bf16 x) {
  const uint32_t word = static_cast<uint32_t>(x.bits) << 16;
  float value;
  __builtin_memcpy(&value, &word, 4);
  return value;
}

template <class T>
inline T store(acc<T> x) {
  return static_cast<T>(x);
}
template <>
inline bf16 store<bf16>(float x) {
  uint32_t word;
  __builtin_memcpy(&word, &x, 4);
  const uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const uint32_t quiet = (word >> 16) | 0x40u;
  return bf16{static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? quiet : rounded)};
}

/// Calls f(T{}) with float, bf16 or double. Callers have checked the dtype.
template <class F>
inline void typed(DType type, F&& f) {
  switch (type) {
    case DType::bfloat16: f(bf16{}); break;
    case DType::float64: f(double{}); break;
    default: f(float{}); break;
  }
}

/// Threads are worth starting for this many elements.
inline constexpr int64_t kParallelElements = 1 << 14;

/// e^x to about 1 ulp of float32 in vector code: 2^k times a polynomial of the rest (Cephes expf).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);  // a NaN passes both comparisons unchanged
  const float k = __builtin_floorf(x * 1.44269504088896341f + 0.5f);
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float value = p * r * r + r + 1.0f;
  const int32_t power = (static_cast<int32_t>(k) + 127) << 23;
  float scale;
  __builtin_memcpy(&scale, &power, 4);
  return value * scale;
}
inline double exponential(double x) { return __builtin_exp(x); }

/// The largest of `top` and x [count]; a NaN is passed over. `simd` lets the compiler keep a maximum per lane, which it
/// may not do by itself where NaNs count.
template <class A>
inline A largest(const A* x, int64_t count, A top) {
#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < count; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

}  // namespace pscale::cpu::PSCALE_ISA
