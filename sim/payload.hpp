// What applications send: a stamp that says what it is, and bytes that follow from the stamp.
#pragma once

#include <cstdint>
#include <optional>

#include <dvs/ids.hpp>

#include "base/bytes.hpp"

namespace sim {

enum class StampKind : std::uint32_t { message = 1, request = 2, reply = 3 };

struct Stamp {
  std::uint64_t from = 0, to = 0;  // incarnations
  std::uint64_t number = 0;        // of a message or request in its pair; of a reply: the call's
  StampKind kind{};
  std::uint32_t bytes = 0;  // of the whole payload
  friend bool operator==(const Stamp&, const Stamp&) = default;
};
static_assert(sizeof(Stamp) == 32);
constexpr std::size_t payload_bytes_min = sizeof(Stamp);

dvs::Bytes make_payload(const Stamp& stamp);
// Nothing if a byte is wrong.
std::optional<Stamp> read_payload(dvs::BytesView payload);

// Fills memory with what follows from `key`; `offset` of its first byte within the whole.
void fill_pattern(std::span<std::byte> memory, std::uint64_t key, std::uint64_t offset = 0);
bool has_pattern(dvs::BytesView memory, std::uint64_t key, std::uint64_t offset = 0);

}  // namespace sim
