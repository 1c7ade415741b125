#include "data/sampler/permutation.h"

#include <algorithm>
#include <bit>

#include "core/base/errors.h"
#include "core/base/random.h"

namespace pscale {
namespace {

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

Permutation::Permutation(uint64_t n, uint64_t seed, uint64_t epoch, std::string_view name) : n_(n) {
  PSCALE_CHECK(n >= 1 && n <= uint64_t{1} << 62, n);
  half_bits_ = std::max(1, static_cast<int>(std::bit_width(n - 1) + 1) / 2);
  const RandomStream random(seed, name);
  for (int round = 0; round < kRounds; ++round)
    keys_[static_cast<size_t>(round)] = random.bits(epoch * kRounds + static_cast<uint64_t>(round));
}

uint64_t Permutation::operator[](uint64_t i) const {
  PSCALE_CHECK(i < n_, i, " of ", n_);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = i >> half_bits_, right = i & mask;
    for (const uint64_t key : keys_) {
      // The upper bits of the mixed value: the lower bits of a key that only shifts the half would repeat.
      const uint64_t next = left ^ (mix(right + key) >> (64 - half_bits_));
      left = right;
      right = next;
    }
    i = left << half_bits_ | right;
  } while (i >= n_);
  return i;
}

}  // namespace pscale
