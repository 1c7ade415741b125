#include "core/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace pscale {

struct Hash::State {
  XXH3_state_t state;
};

Hash::Hash() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->state); }

Hash::~Hash() = default;

void Hash::add(const void* bytes, size_t count) { XXH3_64bits_update(&state_->state, bytes, count); }

uint64_t Hash::value() const { return XXH3_64bits_digest(&state_->state); }

uint64_t hash_of(const void* bytes, size_t count) { return XXH3_64bits(bytes, count); }

std::string to_hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace pscale
