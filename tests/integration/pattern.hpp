// Contents of buffers that show where they came from: no two seeds look alike at any place.
#pragma once

#include <dvs/bytes.hpp>

#include <cstdint>

namespace integration {

inline std::byte pattern_at(std::uint64_t seed, std::uint64_t position) {
  std::uint64_t mixed = (seed + 1) * 0x9E3779B97F4A7C15U + (position >> 3) * 0xC2B2AE3D27D4EB4FU;
  mixed ^= mixed >> 29;
  return static_cast<std::byte>(mixed >> ((position & 7) * 8));
}

inline void fill_pattern(std::span<std::byte> memory, std::uint64_t seed, std::uint64_t from = 0) {
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = pattern_at(seed, from + i);
}

inline bool has_pattern(dvs::BytesView memory, std::uint64_t seed, std::uint64_t from = 0) {
  for (std::size_t i = 0; i < memory.size(); ++i) {
    if (memory[i] != pattern_at(seed, from + i)) return false;
  }
  return true;
}

inline dvs::Bytes make_pattern(std::size_t bytes, std::uint64_t seed) {
  dvs::Bytes result(bytes);
  fill_pattern(result, seed);
  return result;
}

}  // namespace integration
