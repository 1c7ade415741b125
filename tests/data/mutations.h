// Damage to files, the same every time, and what a reader makes of it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <string>

#include "core/base/errors.h"

namespace pscale {

/// One of the ways in which a file breaks: bits, bytes and numbers changed, pieces cut, lost, doubled or exchanged.
inline std::string mutate(const std::string& good, std::mt19937_64& random) {
  std::string bad = good;
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % std::max<size_t>(n, 1)); };
  const auto place = [&] {
    // Headers and ends hold what matters most.
    switch (below(3)) {
      case 0: return below(std::min<size_t>(bad.size(), 64));
      case 1: return bad.size() - 1 - below(std::min<size_t>(bad.size(), 64));
      default: return below(bad.size());
    }
  };
  const size_t changes = 1 + below(3);
  for (size_t change = 0; change < changes && !bad.empty(); ++change) {
    const size_t at = place(), length = std::min(bad.size() - at, 1 + below(40));
    switch (below(8)) {
      case 0: bad[at] = static_cast<char>(bad[at] ^ (1 << below(8))); break;
      case 1: bad[at] = static_cast<char>(random()); break;
      case 2: bad.resize(at); break;
      case 3: bad.erase(at, length); break;
      case 4: bad.insert(at, bad.substr(at, length)); break;
      case 5: std::fill_n(bad.begin() + static_cast<std::ptrdiff_t>(at), length, '\0'); break;
      case 6: {  // a number
        constexpr uint64_t numbers[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~uint64_t{0}};
        uint64_t number = numbers[below(8)];
        for (size_t k = at; k < std::min(bad.size(), at + 8); ++k, number >>= 8) bad[k] = static_cast<char>(number);
        break;
      }
      default: std::swap(bad[at], bad[place()]);
    }
  }
  return bad;
}

struct Outcomes {
  int accepted = 0, refused = 0;
};

/// Gives `count` mutations of `good` to `read`. It must return or throw a UserError of non-empty lines, within seconds:
/// anything else fails the test. `seed` makes the mutations.
inline Outcomes check_mutations(const std::string& good, int count, uint64_t seed,
                                const std::function<void(const std::string&)>& read) {
  read(good);
  Outcomes seen;
  std::mt19937_64 random(seed);
  for (int number = 0; number < count; ++number) {
    std::string bad = mutate(good, random);
    if (bad == good) bad += '\0';
    const auto start = std::chrono::steady_clock::now();
    try {
      read(bad);
      ++seen.accepted;
    } catch (const UserError& error) {
      ++seen.refused;
      EXPECT_FALSE(error.problems().empty());
      for (const std::string& problem : error.problems()) {
        EXPECT_FALSE(problem.empty());
        EXPECT_EQ(problem.find('\n'), std::string::npos) << problem;
        EXPECT_LT(problem.size(), 1000u) << problem;
      }
    } catch (const std::exception& other) {
      ADD_FAILURE() << "mutation " << number << " of seed " << seed << ": " << other.what();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LT(seconds.count(), 10) << "mutation " << number << " of seed " << seed;
  }
  return seen;
}

}  // namespace pscale
