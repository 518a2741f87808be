// One seed, from the first event to the verdict.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "sim/judge.hpp"
#include "sim/trace.hpp"

namespace sim {

struct SimulationOptions {
  std::FILE* trace = nullptr;  // written to, line by line
  bool keeps_trace = false;    // for Outcome::last_events
};

struct Outcome {
  std::uint64_t seed = 0;
  std::string scenario;
  std::uint64_t trace_hash = 0;
  std::uint64_t events = 0;
  std::uint64_t deliveries = 0;  // messages, notifies, group entries
  std::uint64_t calls = 0, copies = 0;
  std::int64_t virtual_milliseconds = 0;
  std::optional<Verdict> verdict{};       // a law was broken
  std::vector<TraceEvent> last_events{};  // concerning those whom the verdict names
};

Outcome simulate(std::uint64_t seed, const SimulationOptions& options = {});

}  // namespace sim
