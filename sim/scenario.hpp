// What kind of world a seed makes: sizes, speeds, and how much goes wrong. Drawn once, at the
// start.
#pragma once

#include <cstdint>
#include <string>

#include "dvk/core/endpoint_core.hpp"
#include "dvk/core/link_core.hpp"
#include "sim/channel.hpp"
#include "sim/random.hpp"

namespace sim {

// How one lane's connections carry frames.
struct LaneCharacter {
  bool is_ordered = true;  // as TCP; otherwise what the next three say
  DelayRange delay{};
  unsigned lost_permille = 0, doubled_permille = 0;
  unsigned delayed_permille = 0;  // frames that others overtake
  unsigned in_flight_max = 64;    // frames that fit into the connection
};

// How often something happens in the whole world, on average; zero: never.
struct FaultIntervals {
  Duration wire_break{};
  Duration partition{};
  Duration node_kill{};
  Duration node_pause{};
  Duration process_kill{};
  Duration process_pause{};
  Duration move{};
  unsigned ring_drop_permille = 0;  // of packets from a daemon to a process
  unsigned lane_drop_permille = 0;  // of packets from a daemon to another
  bool moves_meet_faults = false;   // adopters killed, moves cancelled
};

// What applications do, in shares of the sum.
struct Traffic {
  Duration operation_interval{};  // of each application, on average
  unsigned message = 10, call = 10, notify = 5, copy = 0, lookup = 2, watch = 1;
  unsigned large_permille = 50;    // of messages: up to 64 KiB
  unsigned slow_permille = 100;    // of applications: receive slowly
  unsigned filter_permille = 100;  // of applications: take requests or one sender first
  unsigned forged_permille = 0;    // of operations: a forged packet instead
};

struct Scenario {
  std::string name;
  unsigned nodes = 2;
  unsigned applications = 6;  // alive at a time
  unsigned named_permille = 300;
  unsigned backup_permille = 0;
  unsigned group_count = 0;
  Duration active{};  // then everything heals
  bool has_policy = false;
  std::int64_t drift_ppm_max = 0;
  dvk::core::Limits limits{};
  dvk::core::LinkTimings link{};
  std::size_t retained_bytes_max = 8 * 1024 * 1024;
  std::size_t ring_bytes = 256 * 1024;
  std::size_t memory_bytes = 0;  // of an application, for copies
  LaneCharacter message_lane{}, bulk_lane{};
  DelayRange local_delay{};  // between a process and its daemon or a process beside it
  FaultIntervals faults{};
  Traffic traffic{};
  // Of the oracle: from a node's death to the fact, and from the fact to a node's knowledge of it.
  DelayRange detection{}, fact_delay{};
};

Scenario draw_scenario(Random& random);

}  // namespace sim
