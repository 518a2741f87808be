// What the leader of the system group does for the membership: hears all nodes, grants leases,
// proposes views and declares nodes lost.
//
// Grants. A heartbeat is granted when it was followed by a round of probes that a majority of the
// voters supported. Hence a later leader, whose own first round was supported by a majority after
// that, need not know the grants of earlier ones: all of them are for heartbeats received before
// its first round, so it counts the silence of every node from there.
//
// Leaving out. A member is left out when it has been silent, on every way, for view_lease; or at
// once when it has shown a new boot, because then what held the lease is gone. Silent for
// `suspect`, it is pinged through all voters: one that can still be reached through any of them is
// heard through it, and stays. From the moment a view without a node is proposed the node is
// granted nothing until the fate of the proposal is known.
//
// A new boot counts as shown only in answer to a ping sent after the known boot was last heard:
// otherwise a message delayed from an earlier boot could pass for one from a later.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "cluster/membership/actions.hpp"
#include "cluster/membership/settings.hpp"
#include "cluster/state/roster.hpp"

namespace dvs::cluster {

class Leader {
 public:
  // `voters`: of the engine's configuration, this node among them.
  Leader(NodeId self, BootId boot, std::uint64_t term, std::vector<NodeId> voters,
         const MembershipSettings& settings, TimePoint now);

  std::uint64_t term() const { return term_; }
  void on_roster(const Roster& roster, TimePoint now);
  void set_voters(std::vector<NodeId> voters) { voters_ = std::move(voters); }
  void set_boot(BootId boot) { boot_ = boot; }
  // `through`: the voter that passed it on, or no_node.
  void on_heartbeat(NodeId from, NodeId through, const Heartbeat& heartbeat, TimePoint now,
                    Actions& actions);
  // `through_voters`: on every way there is.
  void ping(NodeId id, TimePoint now, bool through_voters, Actions& actions);
  void on_support(NodeId from, const Support& support, TimePoint now, Actions& actions);
  // A proposal is known to have failed: it is in no log and never will be.
  void on_proposal_failed() { proposed_.reset(); }
  void tick(TimePoint now, Actions& actions);

  // When the latest round that a majority supported was sent: what the leader's own lease counts
  // from.
  std::optional<TimePoint> supported_since() const { return supported_since_; }

 private:
  struct Waiting {
    std::int64_t sent = 0;
    std::uint64_t round = 0;  // the first that was sent after the heartbeat was received
  };
  struct Peer {
    TimePoint heard{};  // on any way
    TimePoint heard_directly{};
    TimePoint heard_through{};  // the voter `through`
    TimePoint stable_since{};
    TimePoint pinged{};
    TimePoint out_since{};
    TimePoint proposed{};            // when it was last declared lost or announced
    BootId boot{};                   // of the latest heartbeat
    std::int64_t boot_known_at = 0;  // the ping to which the boot was shown
    bool is_heard = false;
    bool is_one_way = false;  // the latest heartbeat says that nothing arrives there
    bool has_shown_new_boot = false;
    NodeId through{};
    std::optional<Waiting> waiting, next;  // for a grant; a second while the first is not through
  };

  bool is_member(NodeId node) const { return view_.contains(node); }
  const Node* record(NodeId node) const;
  bool is_two_way(const Heartbeat& heartbeat, TimePoint now) const;
  void note_heard(Peer& peer, NodeId through, const Heartbeat& heartbeat, TimePoint now);
  void note_boot(Peer& peer, const Node& node, const Heartbeat& heartbeat, TimePoint now,
                 Actions& actions);
  void wait_for_grant(Peer& peer, const Heartbeat& heartbeat) const;
  void begin_round(TimePoint now, Actions& actions);
  void confirm(TimePoint now, Actions& actions);
  std::uint64_t round_of_majority() const;
  void grant_waiting(std::uint64_t round, TimePoint now, Actions& actions);
  void send(NodeId to, const Peer& peer, const MembershipMessage& message, TimePoint now,
            Actions& actions) const;
  void send_through_voters(NodeId to, const MembershipMessage& message, Actions& actions) const;
  void ping_silent(TimePoint now, Actions& actions);
  bool is_away(const Peer& peer, TimePoint now) const;
  bool is_back(NodeId id, const Peer& peer, const Node& node, TimePoint now) const;
  void propose_view(TimePoint now, Actions& actions);
  void propose_losses(TimePoint now, Actions& actions);
  void note_self(TimePoint now);

  NodeId self_;
  BootId boot_;
  std::uint64_t term_;
  std::vector<NodeId> voters_;
  MembershipSettings settings_;

  View view_;
  std::map<NodeId, Node> nodes_;
  std::map<NodeId, Peer> peers_;
  std::optional<ProposeView> proposed_;

  struct Round {
    std::uint64_t number;
    TimePoint sent;
  };
  std::uint64_t round_ = 0;
  TimePoint round_sent_{};
  std::deque<Round> rounds_;  // not yet supported
  std::map<NodeId, std::uint64_t> supported_;
  std::optional<TimePoint> supported_since_;
  std::optional<TimePoint> first_supported_;  // from when silence counts

  TimePoint last_tick_;
  TimePoint judges_from_;  // after a pause of its own: what came meanwhile must be read first
};

}  // namespace dvs::cluster
