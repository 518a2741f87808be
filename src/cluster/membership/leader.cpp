#include "cluster/membership/leader.hpp"

#include <algorithm>
#include <utility>

namespace dvs::cluster {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t rounds_max = 64;
constexpr Duration repeat_proposal_after = 200ms;
constexpr Duration ping_lost_every = 1s;

std::int64_t nanoseconds(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

Leader::Leader(NodeId self, BootId boot, std::uint64_t term, std::vector<NodeId> voters,
               const MembershipSettings& settings, TimePoint now)
    : self_(self),
      boot_(boot),
      term_(term),
      voters_(std::move(voters)),
      settings_(settings),
      last_tick_(now),
      judges_from_(now) {}

const Node* Leader::record(NodeId node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? nullptr : &found->second;
}

void Leader::on_roster(const Roster& roster, TimePoint now) {
  const View before = std::exchange(view_, roster.view());
  nodes_ = roster.nodes();
  std::erase_if(peers_, [&](const auto& peer) { return !nodes_.contains(peer.first); });
  for (const auto& [id, node] : nodes_) {
    const auto [found, is_new] = peers_.try_emplace(id);
    Peer& peer = found->second;
    if (is_new) peer.heard = peer.heard_directly = peer.out_since = now;
    if (!is_member(id)) {
      if (before.contains(id)) peer.out_since = now;
      peer.waiting.reset();
      peer.next.reset();
    }
    if (node.boot == peer.boot && !node.is_lost) peer.has_shown_new_boot = false;
  }
  if (proposed_ && view_.number > proposed_->based_on) proposed_.reset();
}

// ---- Hearing

void Leader::on_heartbeat(NodeId from, NodeId through, const Heartbeat& heartbeat, TimePoint now,
                          Actions& actions) {
  const Node* node = record(from);
  if (node == nullptr || from == self_) return;
  Peer& peer = peers_[from];
  if (heartbeat.term != term_) {
    if (heartbeat.term < term_) ping(from, now, false, actions);
    return;
  }
  if (heartbeat.boot != node->boot) return note_boot(peer, *node, heartbeat, now, actions);
  peer.is_one_way = !is_two_way(heartbeat, now);
  if (peer.is_one_way) return;
  note_heard(peer, through, heartbeat, now);
  if (is_member(from) && !peer.has_shown_new_boot) wait_for_grant(peer, heartbeat);
}

// A way on which only heartbeats arrive, and no grants or pings go out, is half a way. What comes
// on it does not count as heard, and is not granted, until a ping was answered.
bool Leader::is_two_way(const Heartbeat& heartbeat, TimePoint now) const {
  const std::chrono::nanoseconds limit = settings_.suspect;
  const auto without_grant = std::chrono::nanoseconds(heartbeat.sent - heartbeat.granted);
  const auto since_ping = std::chrono::nanoseconds(nanoseconds(now) - heartbeat.answers);
  return (heartbeat.granted != 0 && without_grant <= limit) ||
         (heartbeat.answers != 0 && since_ping <= limit);
}

void Leader::note_heard(Peer& peer, NodeId through, const Heartbeat& heartbeat, TimePoint now) {
  if (!peer.is_heard || now - peer.heard > settings_.stable) peer.stable_since = now;
  peer.is_heard = true;
  peer.heard = now;
  if (!peer.has_shown_new_boot) peer.boot = heartbeat.boot;
  (through == no_node ? peer.heard_directly : peer.heard_through) = now;
  if (through != no_node) peer.through = through;
}

void Leader::note_boot(Peer& peer, const Node& node, const Heartbeat& heartbeat, TimePoint now,
                       Actions& actions) {
  if (peer.has_shown_new_boot && peer.boot == heartbeat.boot) return;
  const bool is_later = heartbeat.answers > peer.boot_known_at &&
                        (!peer.is_heard || heartbeat.answers > nanoseconds(peer.heard));
  if (!is_later) {
    if (now - peer.pinged < settings_.tick) return;
    return ping(node.id, now, false, actions);
  }
  peer.boot = heartbeat.boot;
  peer.boot_known_at = heartbeat.answers;
  peer.has_shown_new_boot = true;
  peer.is_heard = false;
  peer.waiting.reset();
  peer.next.reset();
}

// ---- Granting

void Leader::wait_for_grant(Peer& peer, const Heartbeat& heartbeat) const {
  const Waiting waiting{heartbeat.sent, round_ + 1};
  // The first is not replaced: with rounds slower than heartbeats it would never be through.
  (peer.waiting ? peer.next : peer.waiting) = waiting;
}

void Leader::begin_round(TimePoint now, Actions& actions) {
  ++round_;
  round_sent_ = now;
  rounds_.push_back({round_, now});
  if (rounds_.size() > rounds_max) rounds_.pop_front();
  for (const NodeId voter : voters_) {
    if (voter != self_) actions.send(voter, Probe{term_, round_});
  }
  supported_[self_] = round_;
  confirm(now, actions);
}

void Leader::on_support(NodeId from, const Support& support, TimePoint now, Actions& actions) {
  if (support.term != term_ || support.round > round_) return;
  std::uint64_t& supported = supported_[from];
  supported = std::max(supported, support.round);
  confirm(now, actions);
}

// The latest round that a majority of the voters supported.
std::uint64_t Leader::round_of_majority() const {
  std::vector<std::uint64_t> rounds;
  for (const NodeId voter : voters_) {
    const auto found = supported_.find(voter);
    rounds.push_back(found == supported_.end() ? 0 : found->second);
  }
  if (rounds.empty()) return 0;
  std::ranges::sort(rounds, std::ranges::greater{});
  return rounds[rounds.size() / 2];
}

void Leader::confirm(TimePoint now, Actions& actions) {
  const std::uint64_t round = round_of_majority();
  if (rounds_.empty() || round < rounds_.front().number) return;
  while (!rounds_.empty() && rounds_.front().number <= round) {
    supported_since_ = rounds_.front().sent;
    rounds_.pop_front();
  }
  if (!first_supported_) first_supported_ = now;
  grant_waiting(round, now, actions);
}

void Leader::grant_waiting(std::uint64_t round, TimePoint now, Actions& actions) {
  for (auto& [id, peer] : peers_) {
    if (!peer.waiting || peer.waiting->round > round) continue;
    const bool is_leaving = proposed_ && !std::ranges::binary_search(proposed_->members, id);
    if (is_member(id) && !is_leaving && !peer.has_shown_new_boot) {
      send(id, peer, Grant{term_, view_.number, peer.waiting->sent}, now, actions);
    }
    peer.waiting = std::exchange(peer.next, std::nullopt);
  }
}

// ---- Reaching

// Directly, and through the voter it was heard through lately.
void Leader::send(NodeId to, const Peer& peer, const MembershipMessage& message, TimePoint now,
                  Actions& actions) const {
  actions.send(to, message);
  if (peer.through == no_node || now - peer.heard_through > settings_.suspect) return;
  actions.send(peer.through, Forward{self_, to, encode_membership(message)});
}

void Leader::send_through_voters(NodeId to, const MembershipMessage& message,
                                 Actions& actions) const {
  for (const NodeId voter : voters_) {
    if (voter == self_ || voter == to) continue;
    actions.send(voter, Forward{self_, to, encode_membership(message)});
  }
}

void Leader::ping(NodeId id, TimePoint now, bool through_voters, Actions& actions) {
  const auto found = peers_.find(id);
  if (found == peers_.end() || id == self_) return;
  found->second.pinged = now;
  const Ping ping{term_, nanoseconds(now)};
  actions.send(id, ping);
  if (through_voters) send_through_voters(id, ping, actions);
}

void Leader::ping_silent(TimePoint now, Actions& actions) {
  for (const auto& [id, peer] : peers_) {
    const bool is_suspected = peer.is_one_way || now - peer.heard_directly > settings_.suspect;
    // Those out of view get no grants: pings must show that there is a way to them.
    if (peer.is_heard && !is_suspected && is_member(id)) continue;
    const bool is_lost = record(id)->is_lost && !is_member(id);
    if (now - peer.pinged < (is_lost ? ping_lost_every : settings_.heartbeat)) continue;
    ping(id, now, is_suspected && !is_lost, actions);
  }
}

// ---- Deciding

void Leader::note_self(TimePoint now) {
  const Node* node = record(self_);
  if (node == nullptr) return;
  Peer& peer = peers_[self_];
  peer.heard = peer.heard_directly = now;
  peer.is_heard = true;
  peer.boot = boot_;
  peer.has_shown_new_boot = boot_ != node->boot;
}

bool Leader::is_away(const Peer& peer, TimePoint now) const {
  return peer.has_shown_new_boot ||
         now - std::max(peer.heard, *first_supported_) >= settings_.view_lease;
}

bool Leader::is_back(NodeId id, const Peer& peer, const Node& node, TimePoint now) const {
  if (node.is_lost || !peer.is_heard || peer.has_shown_new_boot) return false;
  if (id == self_) return true;
  return now - peer.heard <= settings_.stable && now - peer.stable_since >= settings_.stable;
}

void Leader::propose_view(TimePoint now, Actions& actions) {
  if (proposed_) return;
  ProposeView proposal{view_.number, {}};
  for (const auto& [id, peer] : peers_) {
    const bool belongs = is_member(id) ? !is_away(peer, now) : is_back(id, peer, *record(id), now);
    if (belongs) proposal.members.push_back(id);
  }
  if (proposal.members == view_.members) return;
  proposed_ = proposal;
  actions.proposals.emplace_back(std::move(proposal));
}

void Leader::propose_losses(TimePoint now, Actions& actions) {
  for (auto& [id, peer] : peers_) {
    const Node& node = *record(id);
    if (is_member(id) || now - peer.proposed < repeat_proposal_after) continue;
    const TimePoint silent_since = std::max({peer.heard, peer.out_since, *first_supported_});
    const bool is_silent = id != self_ && now - silent_since >= settings_.lost_after;
    if (!node.is_lost && (peer.has_shown_new_boot || is_silent)) {
      peer.proposed = now;
      actions.proposals.emplace_back(DeclareLost{id, node.boot});
    } else if (node.is_lost && peer.has_shown_new_boot) {
      peer.proposed = now;
      actions.proposals.emplace_back(Announce{id, peer.boot, node.boot, node.address, node.speaks});
    }
  }
}

void Leader::tick(TimePoint now, Actions& actions) {
  // After a pause of its own the others' messages wait to be read: silence proves nothing yet.
  if (now - std::exchange(last_tick_, now) > settings_.heartbeat) {
    judges_from_ = now + 2 * settings_.heartbeat;
  }
  note_self(now);
  const bool somebody_waits =
      std::ranges::any_of(peers_, [](const auto& peer) { return peer.second.waiting.has_value(); });
  const Duration interval = somebody_waits ? settings_.heartbeat / 2 : settings_.heartbeat;
  if (now - round_sent_ >= interval) begin_round(now, actions);
  ping_silent(now, actions);
  const bool has_support = supported_since_ && now - *supported_since_ < settings_.view_lease;
  if (!has_support || now < judges_from_) return;
  propose_view(now, actions);
  propose_losses(now, actions);
}

}  // namespace dvs::cluster
