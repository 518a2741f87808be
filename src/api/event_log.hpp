// What happened on this node, for whoever asks: a numbered, bounded history, one JSON object a
// line. Pure: the time is handed in.
//
// Numbers begin at 1 with each start of the daemon, and every event carries the daemon's boot, so
// that a reader knows whether the number it had still means something.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

namespace dvs::api {

class EventLog {
 public:
  static constexpr std::size_t events_max = 4096;
  static constexpr std::size_t bytes_max = std::size_t{1024} * 1024;

  explicit EventLog(std::uint64_t boot) : boot_(boot) {}

  // The oldest ones go when there are too many.
  void append(std::string_view event, std::chrono::system_clock::time_point time,
              const boost::json::object& fields = {});

  // The number of the last event; 0: there was none.
  std::uint64_t last() const { return last_; }

  struct Piece {
    std::string text;         // whole lines
    std::uint64_t until = 0;  // the number to go on after
  };
  // What follows event number `since`, oldest first, as many events as fit in `limit` bytes but at
  // least one. When some of it is gone already, an event "events_lost" stands for it.
  Piece read(std::uint64_t since, std::size_t limit) const;

  // Called after each append; one listener.
  void on_append(std::function<void()> listener) { listener_ = std::move(listener); }

 private:
  std::uint64_t boot_;
  std::uint64_t last_ = 0;
  std::size_t bytes_ = 0;
  std::deque<std::string> lines_;  // up to number last_
  std::function<void()> listener_;
};

// "2026-01-31T12:00:00.250Z".
std::string time_text(std::chrono::system_clock::time_point time);

}  // namespace dvs::api
