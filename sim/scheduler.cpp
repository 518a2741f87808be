#include "sim/scheduler.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace sim {

void Scheduler::at(Instant when, Action action) {
  std::uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::uint32_t>(actions_.size());
    actions_.push_back(std::move(action));
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    actions_[slot] = std::move(action);
  }
  heap_.push_back({std::max(when, now_), planned_++, slot});
  std::ranges::push_heap(heap_, is_later);
}

void Scheduler::step() {
  DVS_ASSERT(!heap_.empty());
  std::ranges::pop_heap(heap_, is_later);
  const Event event = heap_.back();
  heap_.pop_back();
  now_ = event.when;
  ++executed_;
  Action action = std::move(actions_[event.slot]);
  actions_[event.slot] = nullptr;
  free_slots_.push_back(event.slot);
  action();
}

void Alarm::set(Instant when) {
  if (when == end_of_time) return clear();
  wanted_ = std::max(when, scheduler_.now());
  if (wanted_ < planned_) plan(wanted_);
}

void Alarm::plan(Instant when) {
  planned_ = when;
  scheduler_.at(when, [this, when, is_alive = is_alive_] {
    if (*is_alive) expire(when);
  });
}

// An event whose alarm was put off or cleared since does nothing but plan the next.
void Alarm::expire(Instant planned) {
  if (planned != planned_) return;
  planned_ = end_of_time;
  if (wanted_ == end_of_time) return;
  if (wanted_ > scheduler_.now()) return plan(wanted_);
  wanted_ = end_of_time;
  const auto ring = ring_;  // it may take this alarm with it
  ring();
}

}  // namespace sim
