// A pseudo-random order of the numbers 0 to n-1, different for every (seed, epoch), in which the number at
// any place is found without the ones before it: a Feistel network over the smallest even number of bits that
// holds n, walked until it lands inside (Black & Rogaway 2002, "Ciphers with arbitrary finite domains", cycle
// walking). The round function is the finalizer of SplitMix64 (Steele, Lea & Flood 2014) on a half and a
// round key drawn from the seed.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace pscale {

class Permutation {
 public:
  /// n >= 1. Things of different names have orders that have nothing to do with each other.
  Permutation(uint64_t n, uint64_t seed, uint64_t epoch, std::string_view name = "order of the samples");

  uint64_t size() const { return n_; }
  /// The number at place i < n; at most four passes through the network on average.
  uint64_t operator[](uint64_t i) const;

 private:
  static constexpr int kRounds = 8;
  uint64_t n_;
  int half_bits_;
  std::array<uint64_t, kRounds> keys_;
};

}  // namespace pscale
