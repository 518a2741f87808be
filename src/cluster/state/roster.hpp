// The nodes of the cluster and the present view of them.
//
// A node's boot changes only outside the view and after the boot before has been declared lost, so
// a member of a view stands for exactly one boot. Losing a node has two steps: out of view, then
// lost.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cluster/state/event.hpp"
#include "cluster/state/limits.hpp"
#include "cluster/state/outcome.hpp"

namespace dvs::cluster {

class Roster {
 public:
  Outcome join(const Join& command, std::vector<Change>& changes);
  Outcome leave(const Leave& command, std::vector<Change>& changes);
  Outcome announce(const Announce& command, std::vector<Change>& changes);
  Outcome set(const SetRole& command, std::vector<Change>& changes);
  Outcome set(const SetDrained& command, std::vector<Change>& changes);
  Outcome set(const SetLabels& command, std::vector<Change>& changes);
  Outcome propose_view(const ProposeView& command, std::vector<Change>& changes);
  Outcome declare_lost(const DeclareLost& command, std::vector<Change>& changes);

  const View& view() const { return view_; }
  const Node* find(NodeId node) const;
  const std::map<NodeId, Node>& nodes() const { return nodes_; }
  // The latest command version that every node understands; without nodes, this code's own.
  std::uint8_t spoken_by_all() const;

  std::uint32_t next_number() const { return next_number_; }
  // Smaller numbers that no node has had, ascending.
  std::vector<NodeId> skipped() const { return {skipped_.begin(), skipped_.end()}; }
  std::vector<Node> image() const;
  Result<void> restore(std::uint32_t next_number, const std::vector<NodeId>& skipped,
                       const std::vector<Node>& nodes, const View& view);

 private:
  Node* known(NodeId node);
  std::optional<NodeId> take_number(NodeId wished);

  std::uint32_t next_number_ = 1;  // of a node; past 65535 there are no more
  std::set<NodeId> skipped_;
  std::map<NodeId, Node> nodes_;
  View view_;
};

}  // namespace dvs::cluster
