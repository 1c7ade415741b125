#include "core/base/random.h"

#include <cmath>
#include <numbers>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pscale {
namespace {

constexpr uint64_t low = 0xffffffffu;

uint64_t joined(uint32_t high, uint32_t low_word) { return uint64_t{high} << 32 | low_word; }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0], b = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c;
}

RandomStream::RandomStream(uint64_t seed, std::string_view name)
    : key_{static_cast<uint32_t>(seed & low), static_cast<uint32_t>(seed >> 32)},
      stream_(XXH64(name.data(), name.size(), 0)) {}

std::array<uint32_t, 4> RandomStream::block(uint64_t element) const {
  return philox4x32({static_cast<uint32_t>(element & low), static_cast<uint32_t>(element >> 32),
                     static_cast<uint32_t>(stream_ & low), static_cast<uint32_t>(stream_ >> 32)},
                    key_);
}

uint64_t RandomStream::bits(uint64_t element) const {
  const auto words = block(element);
  return joined(words[1], words[0]);
}

double RandomStream::uniform(uint64_t element) const {
  return static_cast<double>(bits(element) >> 11) * 0x1p-53;
}

float RandomStream::normal(uint64_t element) const {
  const auto words = block(element);
  // The logarithm needs (0, 1]: the grid is shifted by one step.
  const double u = static_cast<double>((joined(words[1], words[0]) >> 11) + 1) * 0x1p-53;
  const double v = static_cast<double>(joined(words[3], words[2]) >> 11) * 0x1p-53;
  return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
}

}  // namespace pscale
