// What lies in the memory that two processes share: the ABI of the local path, version 1.
//
// The attach protocol sees to it that both sides agree on the version. Every word has one writer;
// for everyone else it is input from outside.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace dvk::ring {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

// Two cache lines apart, because processors fetch lines in pairs.
constexpr std::size_t line_bytes = 128;

// The first page of a ring. Positions count bytes since the ring was made and never wrap; a
// position modulo the size of the data area is an offset into it. All zero in the beginning.
struct Control {
  // Written by the producer. Everything before `tail` is complete records.
  alignas(line_bytes) std::atomic<std::uint64_t> tail;
  std::atomic<std::uint32_t> is_producer_closed;
  std::atomic<std::uint32_t> is_room_requested;

  // Written by the consumer. Everything before `head` may be overwritten.
  alignas(line_bytes) std::atomic<std::uint64_t> head;
  std::atomic<std::uint32_t> is_consumer_closed;

  // Written by the consumer, for the layer above. `words_version` is odd while they are changed.
  alignas(line_bytes) std::atomic<std::uint64_t> words_version;
  std::atomic<std::uint64_t> acknowledged;
  std::atomic<std::uint64_t> credit;
  std::atomic<std::uint64_t> epoch;
};
static_assert(offsetof(Control, head) == 128 && offsetof(Control, words_version) == 256);

// The data area begins here, and its mirror where it ends.
constexpr std::size_t control_bytes = 4096;
static_assert(sizeof(Control) <= control_bytes);

// A record: its length in bytes as a 32 bit word, a word of padding, the bytes, padding up to a
// multiple of 8.
constexpr std::size_t record_prefix_bytes = 8;
constexpr std::uint64_t record_room(std::uint64_t length) {
  return (record_prefix_bytes + length + 7) & ~std::uint64_t{7};
}

// The page of a doorbell.
struct DoorbellPage {
  // Written by the sleeper: twice the number of its current sleep, plus 1 while it sleeps.
  std::atomic<std::uint64_t> sleep;
};
constexpr std::size_t doorbell_page_bytes = 4096;

}  // namespace dvk::ring
