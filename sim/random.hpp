// The one source of chance in a simulated world: everything that happens follows from its seed.
//
// SplitMix64 (Steele, Lea, Flood 2014): small, fast, equally good from every seed, and the same on
// every machine, which the standard library's distributions are not.
#pragma once

#include <cstdint>
#include <vector>

#include "base/assert.hpp"
#include "sim/scheduler.hpp"

namespace sim {

constexpr std::uint64_t mix(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed + 0x632BE59BD9B4E019U)) {}

  std::uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15U); }
  // 0 .. bound-1; bound is not 0.
  std::uint64_t below(std::uint64_t bound) {
    DVS_ASSERT(bound != 0);
    return next() % bound;
  }
  // Both ends included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }
  Duration between(Duration low, Duration high) {
    return low + Duration(below(static_cast<std::uint64_t>((high - low).count()) + 1));
  }
  bool one_in(std::uint64_t times) { return below(times) == 0; }
  // In so many of 1000 cases.
  bool permille(unsigned cases) { return cases != 0 && below(1000) < cases; }
  // Mostly well below `mean`, sometimes several times as long: the sum stays about right.
  Duration about(Duration mean) {
    Duration longest = 2 * mean;
    if (one_in(8)) longest *= 4;
    return between(Duration::zero(), longest);
  }
  template <class T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace sim
