// What every part of a simulated world shares: time, chance, the trace, and those who watch the
// laws.
#pragma once

#include <cstdint>

#include "dvk/node/policy.hpp"
#include "sim/call_checker.hpp"
#include "sim/copy_checker.hpp"
#include "sim/group_checker.hpp"
#include "sim/judge.hpp"
#include "sim/lives.hpp"
#include "sim/message_checker.hpp"
#include "sim/name_checker.hpp"
#include "sim/random.hpp"
#include "sim/scenario.hpp"
#include "sim/scheduler.hpp"
#include "sim/trace.hpp"

namespace sim {

struct Context {
  explicit Context(std::uint64_t seed) : random(seed), scenario(draw_scenario(random)) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Instant now() const { return scheduler.now(); }
  void record(TraceEvent event) {
    event.when = now();
    trace.record(event);
  }
  Duration local_delay() {
    return random.between(scenario.local_delay.least, scenario.local_delay.most);
  }

  Scheduler scheduler;
  Random random;
  Scenario scenario;
  Trace trace;
  Judge judge{scheduler};
  Lives lives{scheduler, judge};
  MessageChecker messages{judge, lives, scenario.limits};
  dvk::node::Policy policy;
  CallChecker calls{judge, lives, policy};
  NameChecker names{scheduler, judge, lives};
  CopyChecker copies{judge};
  GroupChecker groups{judge, lives};
  bool is_healed = false;  // the time of faults is over

  // What idle traffic is measured by.
  std::uint64_t data_frames = 0, packets = 0;
};

}  // namespace sim
