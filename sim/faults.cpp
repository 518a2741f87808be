#include "sim/faults.hpp"

#include <algorithm>

namespace sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

Faults::Faults(Context& context, World& world, ClusterOracle& oracle)
    : context_(context), world_(world), oracle_(oracle) {}

void Faults::repeat(Duration mean, std::function<void()> fault) {
  if (mean == Duration::zero()) return;
  auto& slot = alarms_.emplace_back();
  slot =
      std::make_unique<Alarm>(context_.scheduler, [this, mean, fault, index = alarms_.size() - 1] {
        alarms_[index]->set(context_.now() + context_.random.about(mean));
        fault();
      });
  slot->set(context_.now() + context_.random.about(mean));
}

void Faults::begin() {
  const FaultIntervals& faults = context_.scenario.faults;
  repeat(faults.wire_break, [this] { break_wire(); });
  repeat(faults.partition, [this] { partition(); });
  repeat(faults.node_kill, [this] { kill_node(); });
  repeat(faults.node_pause, [this] { pause_node(); });
  repeat(faults.process_kill, [this] { kill_process(); });
  repeat(faults.process_pause, [this] { pause_process(); });
  repeat(faults.move, [this] { move(); });
}

void Faults::heal() {
  for (auto& alarm : alarms_) alarm->clear();
  for (auto& wire : world_.wires()) wire->heal();
  for (const NodeId node : world_.nodes()) {
    if (world_.machine(node).daemon == nullptr && context_.random.one_in(2)) oracle_.restart(node);
  }
  for (Process* process : world_.running_processes()) {
    if (process->is_adopter() && !process->library().has_endpoint()) process->kill();
  }
  // Without an adopter a move would wait for its own deadline, which one in four may do.
  for (Application* application : world_.living_applications()) {
    if (!context_.random.one_in(4)) application->cancel_move();
  }
}

// Mostly short; now and then longer than anything waits for.
Duration Faults::hard_duration() {
  if (context_.random.one_in(5)) {
    return context_.random.between(milliseconds(500),
                                   context_.scenario.link.give_up_after + seconds(2));
  }
  return context_.random.about(milliseconds(300));
}

Wire& Faults::pick_wire() {
  return *context_.random.pick(world_.wires());
}

void Faults::break_wire() {
  pick_wire().break_off();
}

// Two nodes cannot reach each other; sometimes only on one lane.
void Faults::partition() {
  Wire& chosen = pick_wire();
  const Duration duration = hard_duration();
  const bool is_both = !context_.random.one_in(4);
  for (auto& wire : world_.wires()) {
    const bool is_meant = wire->low() == chosen.low() && wire->high() == chosen.high();
    if (!is_meant || (!is_both && wire.get() != &chosen)) continue;
    wire->cut(duration);
    if (context_.random.one_in(2)) wire->break_off();
  }
  context_.record({.what = Happening::partition,
                   .node = dvs::raw(chosen.low()),
                   .a = dvs::raw(chosen.high()),
                   .b = static_cast<std::uint64_t>(duration.count())});
}

void Faults::kill_node() {
  const auto running = world_.running_nodes();
  if (running.size() < 2) return;
  const NodeId node = context_.random.pick(running);
  oracle_.kill(node);
  context_.scheduler.after(context_.random.about(seconds(1)), [this, node] {
    if (!context_.is_healed) oracle_.restart(node);
  });
}

void Faults::pause_node() {
  const auto running = world_.running_nodes();
  if (!running.empty()) world_.pause_node(context_.random.pick(running), hard_duration());
}

void Faults::kill_process() {
  const auto running = world_.running_processes();
  if (!running.empty()) context_.random.pick(running)->kill();
}

void Faults::pause_process() {
  const auto running = world_.running_processes();
  if (!running.empty()) context_.random.pick(running)->pause(hard_duration());
}

// --- Moves ---

Process& Faults::spawn_adopter(Application& application, NodeId target) {
  const Life* life = context_.lives.find(application.address());
  ProcessPlan plan;
  plan.container = application.address().container;
  plan.uid = context_.random.one_in(5) ? 0 : life->uid;
  plan.hello.kind = dvk::wire::HelloKind::adopt;
  plan.hello.address = application.address();
  if (context_.random.one_in(2)) plan.hello.name = life->name;
  return world_.spawn(target, std::move(plan));
}

void Faults::move() {
  std::vector<Application*> candidates;
  for (Application* application : world_.living_applications()) {
    if (application->can_move()) candidates.push_back(application);
  }
  auto targets = world_.running_nodes();
  if (candidates.empty()) return;
  Application& application = *context_.random.pick(candidates);
  std::erase(targets, application.process()->machine().id);
  if (targets.empty()) return;
  const NodeId target = context_.random.pick(targets);
  const Address address = application.address();
  const auto adopt = [this, &application, target, address] {
    if (world_.machine(target).daemon == nullptr || application.address() != address) return;
    Process& adopter = spawn_adopter(application, target);
    if (context_.scenario.faults.moves_meet_faults) spoil_move(address, adopter);
  };
  // The adopter is there before or comes after.
  if (context_.random.one_in(2)) {
    adopt();
    context_.scheduler.after(context_.random.about(milliseconds(5)),
                             [&application, target, address] {
                               if (application.address() == address && application.can_move())
                                 application.want_move(target);
                             });
  } else {
    application.want_move(target);
    context_.scheduler.after(context_.random.about(milliseconds(5)), [this, adopt] {
      if (!context_.is_healed) adopt();
    });
  }
}

void Faults::spoil_move(const Address& address, Process& adopter) {
  const Duration soon = context_.random.about(milliseconds(10));
  Application& application = world_.application_of(address);
  switch (context_.random.below(6)) {
    case 0: return context_.scheduler.after(soon, [&adopter] { adopter.kill(); });
    case 1: return context_.scheduler.after(soon, [&application] { application.cancel_move(); });
    case 2:
      return context_.scheduler.after(soon, [&application, address] {
        if (application.address() == address && application.is_running()) {
          application.process()->kill();
        }
      });
    case 3: return context_.scheduler.after(soon, [this] { pick_wire().break_off(); });
    default: return;
  }
}

}  // namespace sim
