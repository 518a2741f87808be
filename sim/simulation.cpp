#include "sim/simulation.hpp"

#include <fmt/format.h>

#include "sim/cluster_oracle.hpp"
#include "sim/context.hpp"
#include "sim/faults.hpp"
#include "sim/group_oracle.hpp"
#include "sim/world.hpp"

namespace sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// After the world has healed everything pending must end within this time: a move that nobody
// adopts takes 30 s, and one may wait for another; a path that is found again takes the repetition
// interval of a conversation (8 s).
constexpr Duration quiesce_max = seconds(150);
// What a partition or a pause has left behind may show only a while after all is healed.
constexpr unsigned quiesce_rounds_max = 3;
constexpr std::uint64_t events_max = 20'000'000;
constexpr std::size_t last_events_max = 120;

class Simulation {
 public:
  Simulation(std::uint64_t seed, const SimulationOptions& options)
      : context_(seed),
        world_(context_),
        oracle_(context_, world_),
        faults_(context_, world_, oracle_),
        groups_(context_, world_),
        populate_alarm_(context_.scheduler, [this] { populate(); }) {
    context_.trace.write_to(options.trace);
    if (options.keeps_trace) context_.trace.keep();
    context_.names.set_grace(grace());
  }

  void run() {
    oracle_.begin();
    faults_.begin();
    groups_.begin();
    populate_alarm_.set(context_.now());
    advance(context_.scenario.active);
    heal();
    std::optional<Pending> unrest;
    for (unsigned round = 0; round < quiesce_rounds_max; ++round) {
      quiesce();
      if (context_.judge.verdict()) return;
      unrest = find_unrest();
      if (context_.judge.verdict()) return;
      if (!unrest) break;
    }
    if (unrest) context_.judge.fail("idle_traffic", unrest->words, unrest->concerned);
    if (unrest) return;
    check_at_end();
  }

  Outcome outcome(std::uint64_t seed) const {
    Outcome outcome{.seed = seed, .scenario = context_.scenario.name};
    outcome.trace_hash = context_.trace.hash();
    outcome.events = context_.scheduler.executed();
    outcome.deliveries = context_.messages.delivered() + context_.groups.deliveries();
    outcome.calls = context_.calls.count();
    outcome.copies = context_.copies.count();
    outcome.virtual_milliseconds =
        std::chrono::duration_cast<milliseconds>(context_.now().time_since_epoch()).count();
    outcome.verdict = context_.judge.verdict();
    if (outcome.verdict) {
      outcome.last_events =
          context_.trace.last_concerning(outcome.verdict->concerned, last_events_max);
    }
    return outcome;
  }

 private:
  struct Pending {
    std::string words;
    std::vector<Address> concerned;
  };

  // How long the directory may take to hear of a death, with the faults of this scenario.
  Duration grace() const {
    const FaultIntervals& faults = context_.scenario.faults;
    Duration grace = milliseconds(100);
    if (faults.node_pause != Duration::zero()) grace += seconds(10);
    if (faults.partition != Duration::zero() || faults.wire_break != Duration::zero() ||
        !context_.scenario.message_lane.is_ordered) {
      grace += context_.scenario.link.give_up_after + seconds(8);
    }
    if (faults.node_kill != Duration::zero()) {
      grace += context_.scenario.detection.most + context_.scenario.fact_delay.most + seconds(8);
    }
    return grace;
  }

  void populate() {
    if (context_.is_healed) return;
    world_.populate();
    populate_alarm_.set(context_.now() +
                        context_.random.between(milliseconds(1), milliseconds(30)));
  }

  void heal() {
    context_.is_healed = true;
    context_.record({.what = Happening::quiesce, .a = 1});
    faults_.heal();
  }

  void quiesce() {
    const Instant end = context_.now() + quiesce_max;
    auto pending = find_pending();
    while (!context_.judge.verdict() && pending && context_.now() < end) {
      advance(milliseconds(100));
      pending = find_pending();
    }
    if (pending) context_.judge.fail("endless_wait", pending->words, pending->concerned);
  }

  void advance(Duration duration) {
    bool has_passed = false;
    context_.scheduler.after(duration, [&] { has_passed = true; });
    while (!has_passed && !context_.judge.verdict()) {
      context_.scheduler.step();
      if (context_.scheduler.executed() > events_max) {
        context_.judge.fail("livelock", fmt::format("more than {} events", events_max));
      }
    }
  }

  std::optional<Pending> find_pending() {
    if (!oracle_.is_settled()) return Pending{"a node has not learnt of all facts", {}};
    if (const auto member = groups_.find_pending()) {
      return Pending{"a member has not learnt of its group's view", {*member}};
    }
    if (is_somebody_paused()) return Pending{"a node or process is paused", {}};
    if (auto pending = pending_process()) return pending;
    if (auto pending = pending_application()) return pending;
    if (const auto pair = context_.calls.find_pending()) {
      return Pending{"a call has not ended", {pair->first, pair->second}};
    }
    if (const auto pair = context_.messages.find_pending()) {
      return Pending{"something was neither delivered nor reported lost",
                     {pair->first, pair->second}};
    }
    if (const auto* name = context_.names.find_orphan()) {
      return Pending{fmt::format("no backup of \"{}\" was promoted", name->second),
                     context_.names.concerned(*name)};
    }
    if (const auto words = context_.groups.find_pending()) return Pending{*words, {}};
    const auto running = world_.running_nodes();
    for (const NodeId node : running) {
      if (!world_.machine(node).daemon->is_settled(running)) {
        return Pending{fmt::format("node {} has a link that is not idle", dvs::raw(node)), {}};
      }
    }
    return std::nullopt;
  }

  bool is_somebody_paused() {
    const Instant now = context_.now();
    return std::ranges::any_of(world_.machines(),
                               [&](const auto& each) { return each->ready_at(now) > now; }) ||
           std::ranges::any_of(world_.running_processes(),
                               [&](const Process* each) { return each->ready_at() > now; });
  }

  std::optional<Pending> pending_process() {
    for (Process* process : world_.running_processes()) {
      if (!process->library().has_endpoint()) {
        return Pending{process->is_adopter() ? "an adopter waits for nothing"
                                             : "a process was neither welcomed nor refused",
                       {process->plan().hello.address}};
      }
      if (process->application() == nullptr) {
        return Pending{"an adopter has not learnt of the decision", {process->library().address()}};
      }
    }
    return std::nullopt;
  }

  std::optional<Pending> pending_application() {
    for (Application* application : world_.living_applications()) {
      const Address& address = application->address();
      if (!application->is_running()) return Pending{"a move has not ended", {address}};
      if (const auto what = application->pending()) {
        return Pending{what->what, {address, what->peer}};
      }
      auto& core = application->process()->library().core();
      for (const Address& peer : context_.lives.all()) {
        // With a node that stays away replies wait for ever, since nobody can say whether the peer
        // is there; but replies only.
        const bool is_away = !context_.lives.is_alive(peer) &&
                             world_.machine(dvs::birth_node(peer.incarnation)).daemon == nullptr;
        const bool is_excused = is_away && !context_.messages.is_pending(address, peer);
        if (!core.is_flushed(peer) && !is_excused) {
          return Pending{"something sent was neither acknowledged nor given up", {address, peer}};
        }
      }
    }
    return std::nullopt;
  }

  // Idle, a cluster exchanges signs of life and nothing else.
  std::optional<Pending> find_unrest() {
    context_.record({.what = Happening::quiesce, .a = 2});
    // Delayed acknowledgements of what came last.
    advance(milliseconds(500));
    const std::uint64_t frames = context_.data_frames, packets = context_.packets;
    advance(seconds(1));
    if (context_.data_frames != frames || context_.packets != packets) {
      return Pending{fmt::format("{} frames and {} packets in an idle second",
                                 context_.data_frames - frames, context_.packets - packets),
                     {}};
    }
    auto pending = find_pending();
    if (pending) pending->words = "pending again: " + pending->words;
    return pending;
  }

  void check_at_end() {
    context_.messages.check_at_end();
    context_.calls.check_at_end();
    context_.names.check_at_end();
    context_.groups.check_at_end();
    context_.lives.check_at_end();
    for (Application* application : world_.living_applications()) application->check_at_end();
  }

  Context context_;
  World world_;
  ClusterOracle oracle_;
  Faults faults_;
  GroupOracle groups_;
  Alarm populate_alarm_;
};

}  // namespace

Outcome simulate(std::uint64_t seed, const SimulationOptions& options) {
  Simulation simulation(seed, options);
  simulation.run();
  return simulation.outcome(seed);
}

}  // namespace sim
