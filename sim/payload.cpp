#include "sim/payload.hpp"

#include <algorithm>
#include <cstring>

#include "sim/random.hpp"

namespace sim {
namespace {

constexpr std::uint64_t step = 0x9E3779B97F4A7C15U;

std::uint64_t key_of(const Stamp& stamp) {
  return mix(stamp.from * step ^ mix(stamp.to + stamp.number * step) ^
             static_cast<std::uint64_t>(stamp.kind) << 32 ^ stamp.bytes);
}

// Word by word, so that 64 KiB cost microseconds; the last word may be cut short.
template <class Visit>
bool for_each_word(std::size_t bytes, std::uint64_t key, std::uint64_t offset, Visit&& visit) {
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = key + ((offset + at) / sizeof(std::uint64_t)) * step;
    if (!visit(at, std::min(sizeof(word), bytes - at), word)) return false;
  }
  return true;
}

}  // namespace

void fill_pattern(std::span<std::byte> memory, std::uint64_t key, std::uint64_t offset) {
  for_each_word(memory.size(), key, offset,
                [&](std::size_t at, std::size_t count, std::uint64_t word) {
                  std::memcpy(memory.data() + at, &word, count);
                  return true;
                });
}

bool has_pattern(dvs::BytesView memory, std::uint64_t key, std::uint64_t offset) {
  return for_each_word(memory.size(), key, offset,
                       [&](std::size_t at, std::size_t count, std::uint64_t word) {
                         return std::memcmp(memory.data() + at, &word, count) == 0;
                       });
}

dvs::Bytes make_payload(const Stamp& stamp) {
  dvs::Bytes payload(stamp.bytes);
  std::memcpy(payload.data(), &stamp, sizeof(stamp));
  fill_pattern(std::span(payload).subspan(sizeof(stamp)), key_of(stamp));
  return payload;
}

std::optional<Stamp> read_payload(dvs::BytesView payload) {
  Stamp stamp;
  if (payload.size() < sizeof(stamp)) return std::nullopt;
  std::memcpy(&stamp, payload.data(), sizeof(stamp));
  if (stamp.bytes != payload.size()) return std::nullopt;
  if (!has_pattern(payload.subspan(sizeof(stamp)), key_of(stamp))) return std::nullopt;
  return stamp;
}

}  // namespace sim
