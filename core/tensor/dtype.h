// Element types. A tensor's type is a run-time property; `dispatch_float` enters typed code.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "core/base/errors.h"

namespace pscale {

enum class DType : uint8_t { float32, bfloat16, float64, int32 };

/// The upper half of a float32; arithmetic is done in float32 and rounded to nearest even.
struct bfloat16 {
  uint16_t bits = 0;
  bfloat16() = default;
  explicit bfloat16(float value) {
    uint32_t word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) {
      bits = static_cast<uint16_t>((word >> 16) | 0x40u);  // keep NaN a NaN
    } else {
      bits = static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
    }
  }
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};
static_assert(sizeof(bfloat16) == 2);

/// Bytes of one element.
constexpr int64_t size_of(DType type) {
  switch (type) {
    case DType::float64: return 8;
    case DType::bfloat16: return 2;
    default: return 4;
  }
}

constexpr std::string_view name_of(DType type) {
  switch (type) {
    case DType::float32: return "float32";
    case DType::bfloat16: return "bfloat16";
    case DType::float64: return "float64";
    default: return "int32";
  }
}

template <class T>
constexpr DType dtype_of = DType::float32;
template <>
inline constexpr DType dtype_of<bfloat16> = DType::bfloat16;
template <>
inline constexpr DType dtype_of<double> = DType::float64;
template <>
inline constexpr DType dtype_of<int32_t> = DType::int32;

/// Calls f with a value of the C++ type of a floating dtype: dispatch_float(t, [&]<class T>(T) { ... }).
template <class F>
decltype(auto) dispatch_float(DType type, F&& f) {
  switch (type) {
    case DType::float32: return f(float{});
    case DType::bfloat16: return f(bfloat16{});
    case DType::float64: return f(double{});
    default: break;
  }
  throw InvariantError(__FILE__, __LINE__, "a floating dtype is needed, not int32");
}

/// The type sums are kept in: float for float and bfloat16, double for double.
template <class T>
using accumulate_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace pscale
