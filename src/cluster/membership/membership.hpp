// Who is alive: the membership machine of one node. Pure: it is handed messages, news and the time,
// and returns messages, proposals and whether to freeze.
//
// Every node, at rest, sends one heartbeat to the leader each interval and gets one grant back; a
// voter answers probes as well. Only the leader does more (leader.hpp). So what an ordinary node
// sends does not depend on how many nodes there are.
//
// The lease. A node may act (hold authorities, let containers run that need the rest) only while it
// is in the view it knows, under the boot the cluster knows, and within holder_lease of the sending
// of a heartbeat that was granted. A grant names the view it was made in and counts only once the
// node has applied that view: else a node that was left out and taken in again could act on what it
// held before. When the lease nears its end the node must freeze; see settings.hpp for why that is
// before anybody may take its place.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cluster/membership/actions.hpp"
#include "cluster/membership/leader.hpp"
#include "cluster/membership/settings.hpp"
#include "cluster/state/roster.hpp"

namespace dvs::cluster {

// Time points: of one clock per node that goes on while the machine sleeps (CLOCK_BOOTTIME).
class Membership {
 public:
  Membership(NodeId self, BootId boot, const MembershipSettings& settings = {})
      : self_(self), boot_(boot), settings_(settings) {}

  // The applied state changed. Called once before anything else, then after every entry that
  // changed nodes or views, in order.
  void on_roster(const Roster& roster, TimePoint now, Actions& actions);
  // The engine's term as it stands on disk; voters only. Never goes back, not even by a restart:
  // the support of a term rests on it.
  void on_term(std::uint64_t term) { engine_term_ = term; }
  // This node leads, and has applied everything up to an entry of its own term. Before that it must
  // not be told: what earlier leaders proposed could still come.
  void lead(std::uint64_t term, std::vector<NodeId> voters, const Roster& roster, TimePoint now);
  // The engine's configuration changed while this node leads.
  void set_voters(std::vector<NodeId> voters);
  void follow() { lead_.reset(); }
  // While leading: a proposed view is known to have failed for good (not: outcome unknown).
  void on_proposal_failed();
  // After must_take_new_boot, when what ran under the old one has ended.
  void set_boot(BootId boot, TimePoint now);

  // From an authenticated peer. Errors: version_mismatch, protocol_violation; nothing happened.
  Result<void> on_message(NodeId from, BytesView bytes, TimePoint now, Actions& actions);
  // A link to that node has come up: a chance to hear of it sooner.
  void on_link_up(NodeId peer, TimePoint now, Actions& actions);
  void tick(TimePoint now, Actions& actions);

  // Asked right before acting as an authority. Not an event: a node that was paused finds out here.
  bool may_act(TimePoint now) const;
  // When the lease ends unless it is granted anew. Everything must have stopped by then.
  TimePoint lease_end() const;
  NodeId leader() const { return leader_; }
  const View& view() const { return view_; }

 private:
  struct Offer {
    std::uint64_t view = 0;
    TimePoint sent;
  };

  Result<void> take(NodeId from, NodeId through, const MembershipMessage& message, TimePoint now,
                    Actions& actions);
  Result<void> on_forward(NodeId from, const Forward& forward, TimePoint now, Actions& actions);
  void on_ping(NodeId from, NodeId through, const Ping& ping, TimePoint now, Actions& actions);
  void on_probe(NodeId from, const Probe& probe, Actions& actions);
  void on_grant(const Grant& grant, TimePoint now);
  bool accepts_leader(NodeId from, std::uint64_t term);
  void take_offer();
  Heartbeat heartbeat(TimePoint now) const;
  void judge(TimePoint now, Actions& actions);

  NodeId self_;
  BootId boot_;
  MembershipSettings settings_;
  View view_;
  bool is_known_boot_ = false;  // the cluster knows this boot, and not as lost
  bool has_said_lost_ = false;

  std::uint64_t engine_term_ = 0;
  std::uint64_t leader_term_ = 0;
  NodeId leader_ = no_node;
  std::int64_t answers_ = 0;
  TimePoint heartbeat_sent_{};

  TimePoint boot_since_{};               // grants of earlier heartbeats are another boot's
  std::optional<TimePoint> granted_;     // the latest heartbeat that was granted, in any view
  std::optional<Offer> offer_;           // a grant in a view that is not applied yet
  std::optional<TimePoint> lease_from_;  // the latest heartbeat whose grant counts
  bool is_acting_ = false;

  std::optional<Leader> lead_;
};

}  // namespace dvs::cluster
