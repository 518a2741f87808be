// A lossless first-in-first-out way with a delay: an attach socket, or one direction of a ring.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>
#include <functional>
#include <utility>

#include "sim/random.hpp"
#include "sim/scheduler.hpp"

namespace sim {

struct DelayRange {
  Duration least{}, most{};
};

template <class Item>
class Channel {
 public:
  struct Receiver {
    // When the receiver can next take something: now, or later when it is paused.
    std::function<Instant()> ready_at;
    std::function<void(Item&&)> deliver;
    // An item was taken and its room is free.
    std::function<void()> on_room = [] {};
  };
  // `bytes_max`: room for items, in their own size (0: no bound).
  Channel(Scheduler& scheduler, Random& random, DelayRange delay, std::size_t bytes_max,
          Receiver receiver)
      : scheduler_(scheduler),
        random_(random),
        delay_(delay),
        bytes_max_(bytes_max),
        receiver_(std::move(receiver)),
        alarm_(scheduler, [this] { arrive(); }) {}

  // False: no room.
  bool push(Item item, std::size_t bytes = 0) {
    if (is_closed_) return true;  // into the void: nobody will ever read it
    if (bytes_max_ != 0 && bytes_ + bytes > bytes_max_) return false;
    bytes_ += bytes;
    last_arrival_ =
        std::max(last_arrival_, scheduler_.now() + random_.between(delay_.least, delay_.most));
    items_.push_back({last_arrival_, bytes, std::move(item)});
    if (items_.size() == 1) alarm_.set(last_arrival_);
    return true;
  }
  // Takes everything that is under way at once, before its time.
  void drain() {
    while (!items_.empty() && !is_closed_) take_first();
  }
  void close() {
    is_closed_ = true;
    items_.clear();
    alarm_.clear();
  }
  // The receiver is ready earlier than it said.
  void retry() {
    if (!items_.empty()) alarm_.set(items_.front().arrival);
  }
  bool is_closed() const { return is_closed_; }
  bool empty() const { return items_.empty(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Travelling {
    Instant arrival;
    std::size_t bytes;
    Item item;
  };

  void take_first() {
    Travelling first = std::move(items_.front());
    items_.pop_front();
    bytes_ -= first.bytes;
    receiver_.deliver(std::move(first.item));
    receiver_.on_room();
  }
  void arrive() {
    while (!items_.empty() && !is_closed_ && items_.front().arrival <= scheduler_.now()) {
      if (const Instant ready = receiver_.ready_at(); ready > scheduler_.now()) {
        return alarm_.set(ready);
      }
      take_first();
    }
    if (!items_.empty()) alarm_.set(items_.front().arrival);
  }

  Scheduler& scheduler_;
  Random& random_;
  DelayRange delay_;
  std::size_t bytes_max_;
  Receiver receiver_;
  Alarm alarm_;
  std::deque<Travelling> items_;
  std::size_t bytes_ = 0;
  Instant last_arrival_{};
  bool is_closed_ = false;
};

}  // namespace sim
