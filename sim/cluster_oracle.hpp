// The cluster layer, which is not simulated but known: it notices deaths after a while and decides
// on facts (a node is lost; a view) in one sequence. Every node learns of them in that sequence, at
// times of its own.
//
// A node that was declared lost comes back only after all running nodes have applied that fact:
// NodeCore::on_node_lost speaks of a node, not of a boot.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "dvk/node/view.hpp"
#include "sim/world.hpp"

namespace sim {

class ClusterOracle {
 public:
  ClusterOracle(Context& context, World& world);

  // Starts all nodes with the first view.
  void begin();
  void kill(NodeId node);
  // As soon as that is allowed; then it is in the view again.
  void restart(NodeId node);
  // Everybody knows everything, and all nodes that are dead for good are declared lost.
  bool is_settled() const;

 private:
  struct Fact {
    std::optional<NodeId> lost;
    dvk::node::View view;
  };
  struct Learner {
    std::size_t next = 0;  // fact to apply
    std::unique_ptr<Alarm> alarm{};
  };

  void decide(Fact fact);
  void declare_lost(NodeId node, std::uint64_t boots);
  void apply(NodeId node);
  void plan(NodeId node);
  bool all_know(std::size_t facts) const;
  const dvk::node::View& view() const { return facts_.back().view; }

  Context& context_;
  World& world_;
  std::vector<Fact> facts_;
  std::map<NodeId, Learner> learners_;
};

}  // namespace sim
