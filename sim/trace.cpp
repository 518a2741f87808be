#include "sim/trace.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sim {
namespace {

const char* name_of(Happening what) {
  switch (what) {
    case Happening::node_started: return "node_started";
    case Happening::node_killed: return "node_killed";
    case Happening::node_paused: return "node_paused";
    case Happening::fact_applied: return "fact_applied";
    case Happening::link_event: return "link_event";
    case Happening::wire_connected: return "wire_connected";
    case Happening::wire_closed: return "wire_closed";
    case Happening::partition: return "partition";
    case Happening::frame_arrived: return "frame_arrived";
    case Happening::frame_lost: return "frame_lost";
    case Happening::process_started: return "process_started";
    case Happening::process_killed: return "process_killed";
    case Happening::process_paused: return "process_paused";
    case Happening::daemon_message: return "daemon_message";
    case Happening::process_message: return "process_message";
    case Happening::packet_dropped: return "packet_dropped";
    case Happening::life_began: return "life_began";
    case Happening::life_ended: return "life_ended";
    case Happening::packet_taken: return "packet_taken";
    case Happening::words_taken: return "words_taken";
    case Happening::path: return "path";
    case Happening::sent: return "sent";
    case Happening::received: return "received";
    case Happening::call_ended: return "call_ended";
    case Happening::told_end: return "told_end";
    case Happening::notified: return "notified";
    case Happening::copy_ordered: return "copy_ordered";
    case Happening::copy_ended: return "copy_ended";
    case Happening::looked_up: return "looked_up";
    case Happening::move_begun: return "move_begun";
    case Happening::move_ended: return "move_ended";
    case Happening::group_view: return "group_view";
    case Happening::group_delivery: return "group_delivery";
    case Happening::quiesce: return "quiesce";
    case Happening::node_message: return "node_message";
  }
  return "unknown";
}

// Events without addresses set the scene for all others; single frames are too many for that.
bool concerns_world(const TraceEvent& event) {
  return !event.from && !event.to && event.what != Happening::frame_arrived &&
         event.what != Happening::frame_lost;
}

}  // namespace

std::string to_string(const TraceEvent& event) {
  const auto nanoseconds = event.when.time_since_epoch().count();
  std::string line = fmt::format("{}.{:09} {}", nanoseconds / 1'000'000'000,
                                 nanoseconds % 1'000'000'000, name_of(event.what));
  if (event.node != 0) line += fmt::format(" n{}", event.node);
  if (event.from) line += " " + dvs::to_string(event.from);
  if (event.to) line += " -> " + dvs::to_string(event.to);
  return line + fmt::format(" {:x} {:x} {:x}", event.a, event.b, event.c);
}

void Trace::record(const TraceEvent& event) {
  const auto add = [&](std::uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9E3779B97F4A7C15U;
    hash_ ^= hash_ >> 32;
  };
  add(static_cast<std::uint64_t>(event.when.time_since_epoch().count()));
  add(static_cast<std::uint64_t>(event.what) << 16 | event.node);
  add(dvs::raw(event.from.id) ^ dvs::raw(event.from.incarnation) << 1);
  add(dvs::raw(event.to.id) ^ dvs::raw(event.to.incarnation) << 1);
  add(event.a);
  add(event.b);
  add(event.c);
  ++count_;
  remark(event);
}

void Trace::remark(const TraceEvent& event) {
  if (file_ != nullptr) fmt::print(file_, "{}\n", to_string(event));
  if (is_kept_) kept_.push_back(event);
}

std::vector<TraceEvent> Trace::last_concerning(const std::vector<dvs::Address>& who,
                                               std::size_t count_max) const {
  std::vector<TraceEvent> found;
  const auto is_meant = [&](const dvs::Address& address) {
    return address && std::ranges::find(who, address) != who.end();
  };
  for (auto event = kept_.rbegin(); event != kept_.rend() && found.size() < count_max; ++event) {
    // Of a pair, only what concerns both, or one alone.
    const bool is_hit = event->from && event->to && who.size() > 1
                            ? is_meant(event->from) && is_meant(event->to)
                            : is_meant(event->from) || is_meant(event->to);
    if (is_hit || concerns_world(*event)) found.push_back(*event);
  }
  std::ranges::reverse(found);
  return found;
}

}  // namespace sim
