// What happened in a run, event by event. Always hashed, so that two runs can be compared; kept or
// written as text on demand only, because a seed alone brings any run back.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <dvs/ids.hpp>

#include "sim/scheduler.hpp"

namespace sim {

enum class Happening : std::uint8_t {
  // The world. a, b, c as the comment says.
  node_started,    // a: boot
  node_killed,     //
  node_paused,     // a: for so many ns
  fact_applied,    // a: number of the fact, b: view
  link_event,      // node: where; a: peer, b: lane, c: kind << 8 | state or cause
  wire_connected,  // node: side; a: peer, b: lane, c: connection
  wire_closed,     // node: side; a: peer, b: lane, c: connection
  partition,       // node: side; a: peer, b: for so many ns
  // Frames. node: receiver; a: sender, b: lane << 8 | type, c: sequence
  frame_arrived,
  frame_lost,
  // Processes. from: the endpoint
  process_started,  // a: handle, b: kind
  process_killed,   // a: handle
  process_paused,   // a: handle, b: for so many ns
  daemon_message,   // to a process. a: handle, b: index of the message, to: the peer of a route, c:
                    // kind, error
  process_message,  // to a daemon. a: handle, b: index of the message, to: the peer of a query
  packet_dropped,   // a daemon found no room. from, to: as in the header; a: kind, b: sequence
  life_began,
  life_ended,
  // Packets. node: where they are taken; a: kind << 8 | path, b: epoch << 32 | sequence, c: token
  packet_taken,
  words_taken,  // acknowledgement of a ring: a: epoch, b: number, c: credit
  path,         // from, to; a: kind, b: error
  // What applications see. from: who acts, to: the peer
  sent,            // a: kind, b: number, c: bytes
  received,        // a: kind, b: number or bits, c: bytes
  call_ended,      // a: call, b: error
  told_end,        // a: reason, b: lost
  notified,        // a: bits
  copy_ordered,    // a: copy, b: bytes
  copy_ended,      // a: copy, b: error
  looked_up,       // a: request, b: error; to: what was found
  move_begun,      // a: target node
  move_ended,      // a: error
  group_view,      // a: group, b: view, c: position
  group_delivery,  // a: group, b: position, c: number
  quiesce,         // a: phase
  // Only in text, as a remark.
  node_message,  // node: where it arrives; a: from node, b: index of the message, c: status
};

struct TraceEvent {
  Instant when{};
  Happening what{};
  std::uint16_t node = 0;
  dvs::Address from{}, to{};
  std::uint64_t a = 0, b = 0, c = 0;
};

// One line, without the end of line.
std::string to_string(const TraceEvent& event);

class Trace {
 public:
  // Writes each event as a line to `file`, which must outlive the trace; nullptr: to nowhere.
  void write_to(std::FILE* file) { file_ = file; }
  void keep() { is_kept_ = true; }

  void record(const TraceEvent& event);
  // Written and kept, but not part of the hash: what costs too much to be made in every run.
  void remark(const TraceEvent& event);
  bool takes_remarks() const { return file_ != nullptr || is_kept_; }
  std::uint64_t hash() const { return hash_; }
  std::uint64_t count() const { return count_; }

  // The last `count_max` kept events that concern one of the addresses, or the world as a whole.
  std::vector<TraceEvent> last_concerning(const std::vector<dvs::Address>& who,
                                          std::size_t count_max) const;

 private:
  std::FILE* file_ = nullptr;
  bool is_kept_ = false;
  std::uint64_t hash_ = 0xCBF29CE484222325U;
  std::uint64_t count_ = 0;
  std::vector<TraceEvent> kept_;
};

}  // namespace sim
