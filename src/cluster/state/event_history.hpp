// The last events, for watchers. Bounded; not part of what replicas agree on: a replica that was
// restored from a snapshot has no history before it, and says so.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include <dvs/result.hpp>

#include "cluster/state/event.hpp"
#include "cluster/state/limits.hpp"

namespace dvs::cluster {

// Events of a watch, and from where to ask next.
struct EventPage {
  std::vector<Event> events;
  std::uint64_t through = 0;  // all events up to this index have been looked at
};

class EventHistory {
 public:
  EventHistory(const Limits& limits, std::uint64_t begins_after)
      : events_max_(limits.history_events),
        bytes_max_(limits.history_bytes),
        compacted_through_(begins_after) {}

  void add(std::uint64_t index, Change change);
  // Drops the oldest entries' events until the bounds hold. Called after each entry, so that events
  // of one entry are there together or not at all; one entry alone may exceed the bounds.
  void trim(std::uint64_t applied);

  // The events after an index whose subject begins with the prefix, in order; about `events_max` of
  // them: those of one entry are never separated. Errors: compacted.
  Result<EventPage> after(std::uint64_t index, std::string_view prefix,
                          std::size_t events_max) const;
  std::uint64_t compacted_through() const { return compacted_through_; }

 private:
  struct Kept {
    Event event;
    std::string subject;
    std::size_t bytes;
  };

  std::size_t events_max_;
  std::size_t bytes_max_;
  std::uint64_t compacted_through_;
  std::uint64_t applied_ = 0;
  std::size_t bytes_ = 0;
  std::deque<Kept> kept_;
};

}  // namespace dvs::cluster
