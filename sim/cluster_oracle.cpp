#include "sim/cluster_oracle.hpp"

#include <algorithm>

namespace sim {

using std::chrono::milliseconds;

ClusterOracle::ClusterOracle(Context& context, World& world) : context_(context), world_(world) {
  for (const NodeId node : world.nodes()) {
    learners_[node].alarm =
        std::make_unique<Alarm>(context.scheduler, [this, node] { apply(node); });
  }
}

void ClusterOracle::begin() {
  facts_.push_back({std::nullopt, {1, world_.nodes()}});
  for (const NodeId node : world_.nodes()) {
    world_.start_node(node);
    plan(node);
  }
}

void ClusterOracle::plan(NodeId node) {
  learners_[node].alarm->set(context_.now() +
                             context_.random.between(context_.scenario.fact_delay.least,
                                                     context_.scenario.fact_delay.most));
}

void ClusterOracle::decide(Fact fact) {
  fact.view.number = view().number + 1;
  facts_.push_back(std::move(fact));
  for (const NodeId node : world_.running_nodes()) {
    if (learners_[node].next + 1 == facts_.size()) plan(node);
  }
}

void ClusterOracle::apply(NodeId node) {
  Machine& machine = world_.machine(node);
  Learner& learner = learners_[node];
  if (machine.daemon == nullptr || learner.next == facts_.size()) return;
  if (const Instant ready = machine.ready_at(context_.now()); ready > context_.now()) {
    return learner.alarm->set(ready);
  }
  const Fact& fact = facts_[learner.next++];
  context_.record({.what = Happening::fact_applied,
                   .node = dvs::raw(node),
                   .a = learner.next,
                   .b = fact.view.number});
  const bool is_view_first = context_.random.one_in(2);
  if (is_view_first) machine.daemon->install_view(fact.view);
  if (fact.lost && *fact.lost != node) machine.daemon->on_node_lost(*fact.lost);
  if (!is_view_first) machine.daemon->install_view(fact.view);
  if (learner.next < facts_.size()) plan(node);
}

void ClusterOracle::kill(NodeId node) {
  world_.kill_node(node);
  learners_[node].alarm->clear();
  const std::uint64_t boots = world_.machine(node).boots;
  context_.scheduler.after(
      context_.random.between(context_.scenario.detection.least, context_.scenario.detection.most),
      [this, node, boots] { declare_lost(node, boots); });
}

void ClusterOracle::declare_lost(NodeId node, std::uint64_t boots) {
  const Machine& machine = world_.machine(node);
  if (machine.daemon != nullptr || machine.boots != boots || !view().contains(node)) return;
  Fact fact{node, view()};
  std::erase(fact.view.members, node);
  decide(std::move(fact));
}

bool ClusterOracle::all_know(std::size_t facts) const {
  return std::ranges::all_of(world_.running_nodes(),
                             [&](NodeId node) { return learners_.at(node).next >= facts; });
}

void ClusterOracle::restart(NodeId node) {
  if (world_.machine(node).daemon != nullptr) return;
  const bool was_declared = !view().contains(node);
  if (was_declared && !all_know(facts_.size())) {
    return context_.scheduler.after(milliseconds(20), [this, node] { restart(node); });
  }
  world_.start_node(node);
  if (was_declared) {
    Fact fact{std::nullopt, view()};
    fact.view.members.push_back(node);
    std::ranges::sort(fact.view.members);
    learners_[node].next = facts_.size();
    decide(std::move(fact));
  } else {
    // It never left: the latest view is all it needs to know.
    learners_[node].next = facts_.size() - 1;
    plan(node);
  }
}

bool ClusterOracle::is_settled() const {
  if (!all_know(facts_.size())) return false;
  return std::ranges::all_of(world_.machines(), [&](const auto& machine) {
    return (machine->daemon != nullptr) == view().contains(machine->id);
  });
}

}  // namespace sim
