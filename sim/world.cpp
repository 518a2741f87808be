#include "sim/world.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace sim {

using dvs::ContainerId;
using std::chrono::hours;
using std::chrono::milliseconds;

World::World(Context& context)
    : context_(context), names_{"a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"} {
  if (context.scenario.has_policy) draw_policy();
  for (unsigned i = 1; i <= context.scenario.nodes; ++i) {
    const auto drift = static_cast<std::int64_t>(
        context.random.below(2 * static_cast<std::uint64_t>(context.scenario.drift_ppm_max) + 1));
    auto machine = std::make_unique<Machine>();
    machine->id = NodeId{static_cast<std::uint16_t>(i)};
    machine->clock = NodeClock(context.random.between(hours(1), hours(1000)),
                               drift - context.scenario.drift_ppm_max);
    node_ids_.push_back(machine->id);
    machines_.push_back(std::move(machine));
  }
  for (const NodeId low : node_ids_) {
    for (const NodeId high : node_ids_) {
      if (!(low < high)) continue;
      wires_.push_back(
          std::make_unique<Wire>(context, low, high, message_lane, context.scenario.message_lane));
      wires_.push_back(
          std::make_unique<Wire>(context, low, high, bulk_lane, context.scenario.bulk_lane));
    }
  }
}

// In container 1, those with names in `a` are servers for everybody, the others keep to themselves.
void World::draw_policy() {
  dvk::node::Policy::ContainerRules rules;
  rules.talk = {{"a*", "*"}, {"b*", "b*"}};
  context_.policy = dvk::node::Policy({{ContainerId{1}, rules}});
}

Wire& World::wire(NodeId a, NodeId b, std::uint8_t lane) {
  const auto found = std::ranges::find_if(wires_, [&](const std::unique_ptr<Wire>& wire) {
    return wire->low() == std::min(a, b) && wire->high() == std::max(a, b) && wire->lane() == lane;
  });
  DVS_ASSERT(found != wires_.end());
  return **found;
}

// --- Machines ---

std::vector<NodeId> World::running_nodes() const {
  std::vector<NodeId> running;
  for (const auto& machine : machines_) {
    if (machine->daemon != nullptr) running.push_back(machine->id);
  }
  return running;
}

void World::start_node(NodeId id) {
  Machine& node = machine(id);
  DVS_ASSERT(node.daemon == nullptr);
  node.paused_until = {};
  const std::uint64_t boot = std::uint64_t{dvs::raw(id)} << 32 | ++node.boots;
  node.daemon = daemons_.emplace_back(std::make_unique<Daemon>(context_, node, *this, boot)).get();
}

void World::kill_node(NodeId id) {
  Machine& node = machine(id);
  context_.calls.disrupted();
  Daemon* daemon = std::exchange(node.daemon, nullptr);
  daemon->kill();
  for (Process* process : running_processes()) {
    if (&process->machine() == &node) process->kill();
  }
}

void World::pause_node(NodeId id, Duration how_long) {
  Machine& node = machine(id);
  node.paused_until = std::max(node.paused_until, context_.now() + how_long);
  context_.record({.what = Happening::node_paused,
                   .node = dvs::raw(id),
                   .a = static_cast<std::uint64_t>(how_long.count())});
  context_.scheduler.at(node.paused_until, [&node, daemon = node.daemon] {
    if (node.daemon == daemon && daemon != nullptr) daemon->resume();
  });
}

// --- Processes ---

Process& World::spawn(NodeId node, ProcessPlan plan) {
  return *processes_.emplace_back(
      std::make_unique<Process>(context_, *this, machine(node), std::move(plan)));
}

std::vector<Process*> World::running_processes() const {
  std::vector<Process*> running;
  for (const auto& process : processes_) {
    if (!process->is_dead()) running.push_back(process.get());
  }
  return running;
}

std::vector<Application*> World::living_applications() const {
  std::vector<Application*> living;
  for (const auto& application : applications_) {
    if (context_.lives.is_alive(application->address())) living.push_back(application.get());
  }
  return living;
}

Application* World::find_application(const Address& address) {
  const auto found = std::ranges::find_if(
      applications_, [&](const auto& application) { return application->address() == address; });
  return found == applications_.end() ? nullptr : found->get();
}

ProcessPlan World::draw_plan() {
  ProcessPlan plan;
  plan.container = ContainerId{context_.random.one_in(5) ? 2U : 1U};
  plan.uid = context_.random.one_in(4) ? 1001 : 1000;
  if (context_.random.permille(context_.scenario.backup_permille)) {
    plan.hello.kind = dvk::wire::HelloKind::backup;
    plan.hello.name = context_.random.pick(names_);
  } else if (context_.random.permille(context_.scenario.named_permille)) {
    plan.hello.name = context_.random.pick(names_);
  }
  return plan;
}

void World::populate() {
  const auto processes = running_processes();
  const auto count = std::ranges::count_if(
      processes, [](const Process* process) { return !process->is_adopter(); });
  const auto nodes = running_nodes();
  if (static_cast<unsigned>(count) >= context_.scenario.applications || nodes.empty()) return;
  spawn(context_.random.pick(nodes), draw_plan());
}

std::vector<Address> World::alive(ContainerId container) const {
  std::vector<Address> addresses;
  for (const Application* application : living_applications()) {
    if (application->address().container == container) {
      addresses.push_back(application->address());
    }
  }
  return addresses;
}

Memory* World::memory_of(const Address& address) {
  Application* application = find_application(address);
  return application == nullptr || !application->is_running() ? nullptr : application->memory();
}

Application& World::create_application(Process&) {
  return *applications_.emplace_back(std::make_unique<Application>(context_, *this));
}

Application& World::application_of(const Address& address) {
  Application* application = find_application(address);
  DVS_ASSERT(application != nullptr);
  return *application;
}

// Whoever still waits to adopt that endpoint waits in vain.
void World::on_move_ended(const Address& address) {
  context_.scheduler.after(context_.random.about(milliseconds(5)), [this, address] {
    for (Process* process : running_processes()) {
      if (process->plan().hello.address != address || process->library().has_endpoint()) continue;
      process->kill();
    }
  });
}

}  // namespace sim
