// Virtual time. Events happen in the order of their time, those of one time in the order in which
// they were planned; nothing else moves the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.hpp"

namespace sim {

using dvs::Duration;

// The time of the world, which no node knows. A type of its own, so that it is never taken for the
// time on a node's clock.
struct WorldClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<WorldClock>;
  static constexpr bool is_steady = true;
};
using Instant = WorldClock::time_point;
constexpr Instant end_of_time = Instant::max();

class Scheduler {
 public:
  using Action = std::move_only_function<void()>;

  Instant now() const { return now_; }
  std::uint64_t executed() const { return executed_; }
  void at(Instant when, Action action);
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
  // The time of the next event; end_of_time when there is none.
  Instant next() const { return heap_.empty() ? end_of_time : heap_.front().when; }
  // Runs the next event. There must be one.
  void step();

 private:
  struct Event {
    Instant when;
    std::uint64_t number;
    std::uint32_t slot;
  };
  static bool is_later(const Event& a, const Event& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }

  Instant now_{};
  std::uint64_t planned_ = 0;
  std::uint64_t executed_ = 0;
  std::vector<Event> heap_;
  std::vector<Action> actions_;  // by slot
  std::vector<std::uint32_t> free_slots_;
};

// Calls back at a time that may be changed at will.
class Alarm {
 public:
  Alarm(Scheduler& scheduler, std::function<void()> ring)
      : scheduler_(scheduler), ring_(std::move(ring)) {}
  ~Alarm() { *is_alive_ = false; }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  // Replaces what was set before; a time in the past means now.
  void set(Instant when);
  // Only makes it ring earlier.
  void set_by(Instant when) {
    if (when < wanted_) set(when);
  }
  void clear() { wanted_ = end_of_time; }
  bool is_set() const { return wanted_ != end_of_time; }

 private:
  void plan(Instant when);
  void expire(Instant planned);

  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);  // for events under way

  Scheduler& scheduler_;
  std::function<void()> ring_;
  Instant wanted_ = end_of_time;
  Instant planned_ = end_of_time;  // of the earliest event that is under way
};

}  // namespace sim
