// Counter-based random numbers: every number is a pure function of (seed, name, element), so any rank makes
// any part of a parameter without the rest and a layout never changes what is drawn. Anyone may use it; it
// has no state.
//
// Philox 4x32 with 10 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2,
// 3"). The key is the seed, the counter is (element, XXH64 of the name).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pscale {

/// One block: ten rounds over the counter. Words as in the paper's reference code.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  /// 64 random bits.
  uint64_t bits(uint64_t element) const;
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform(uint64_t element) const;
  /// Standard normal, |x| <= 8.6 (Box & Muller 1958 on two 53-bit uniforms, in double).
  float normal(uint64_t element) const;

 private:
  std::array<uint32_t, 4> block(uint64_t element) const;
  std::array<uint32_t, 2> key_;
  uint64_t stream_;
};

}  // namespace pscale
