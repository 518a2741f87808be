// The two halves of a reliable, ordered stream: numbered, retained until acknowledged, filtered.
//
// Used by conversations (end to end) and by link lanes (hop to hop) alike. Both assume a carrier
// that may lose, repeat, reorder and delay; go-back-N makes it exact. Numbers start at 1 and never
// wrap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "base/assert.hpp"

namespace dvk::core {

// Sender's half. Invariant: items_ holds the numbers [first_, first_ + items_.size()), those below
// cursor_ have been handed to the carrier since the last rewind.
template <class Item>
class SendWindow {
 public:
  // Takes the item and returns its number.
  std::uint64_t push(Item item) {
    items_.push_back(std::move(item));
    return last_number();
  }

  // The next item the carrier has not had since the last rewind; nullptr when it had all.
  const Item* next() const {
    return cursor_ <= last_number() ? &items_[static_cast<std::size_t>(cursor_ - first_)] : nullptr;
  }
  std::uint64_t next_number() const { return cursor_; }
  void advance() {
    DVS_ASSERT(cursor_ <= last_number());
    ++cursor_;
  }

  // Releases everything up to and including `number`, calling on_release(item) for each. False if
  // the number was never sent: the peer is lying or confused, and nothing was released.
  template <class OnRelease>
  [[nodiscard]] bool acknowledge(std::uint64_t number, OnRelease&& on_release) {
    if (number > last_number()) return false;
    while (first_ <= number) {
      on_release(items_.front());
      items_.pop_front();
      ++first_;
    }
    if (cursor_ < first_) cursor_ = first_;
    return true;
  }

  // Everything retained is to be sent again.
  void rewind() { cursor_ = first_; }

  bool empty() const { return items_.empty(); }
  std::size_t size() const { return items_.size(); }
  std::uint64_t first_number() const { return first_; }
  std::uint64_t last_number() const { return first_ + items_.size() - 1; }
  // Whether something was handed to the carrier and is not acknowledged yet.
  bool in_flight() const { return cursor_ > first_; }

  const std::deque<Item>& items() const { return items_; }
  // For a stream that continues elsewhere: nothing retained, the next push gets `next_push_number`.
  void restart_at(std::uint64_t next_push_number) {
    items_.clear();
    first_ = cursor_ = next_push_number;
  }

 private:
  std::deque<Item> items_;
  std::uint64_t first_ = 1;
  std::uint64_t cursor_ = 1;
};

// Receiver's half: says what to do with a number.
class ReceiveWindow {
 public:
  enum class Verdict : std::uint8_t {
    accept,     // the next one: take it
    duplicate,  // had it: acknowledge again, drop it
    gap,        // something before it is missing: drop it, ask for a replay
  };

  Verdict offer(std::uint64_t number) {
    if (number < expected_) return Verdict::duplicate;
    if (number > expected_) return Verdict::gap;
    ++expected_;
    return Verdict::accept;
  }

  // The highest number taken; 0 before the first.
  std::uint64_t received() const { return expected_ - 1; }
  void restart_after(std::uint64_t number) { expected_ = number + 1; }

 private:
  std::uint64_t expected_ = 1;
};

}  // namespace dvk::core
