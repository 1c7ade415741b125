// XXH3 (64 bits), the hash of checkpoint files and of the state of a run. Not against forgery.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace pscale {

/// A hash of bytes that arrive in pieces.
class Hash {
 public:
  Hash();
  ~Hash();
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void add(const void* bytes, size_t count);
  uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

uint64_t hash_of(const void* bytes, size_t count);

/// 16 hexadecimal digits.
std::string to_hex(uint64_t value);

}  // namespace pscale
