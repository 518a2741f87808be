#include "cluster/membership/membership.hpp"

#include <algorithm>
#include <utility>

namespace dvs::cluster {
namespace {

std::int64_t nanoseconds(TimePoint time) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

TimePoint time_of(std::int64_t nanoseconds) {
  return TimePoint(std::chrono::duration_cast<Duration>(std::chrono::nanoseconds(nanoseconds)));
}

}  // namespace

// ---- News

void Membership::on_roster(const Roster& roster, TimePoint now, Actions& actions) {
  view_ = roster.view();
  const Node* node = roster.find(self_);
  const bool is_own_boot = node != nullptr && node->boot == boot_;
  is_known_boot_ = is_own_boot && !node->is_lost;
  if (is_own_boot && node->is_lost && !has_said_lost_) {
    has_said_lost_ = true;
    actions.must_take_new_boot = true;
  }
  if (lead_) lead_->on_roster(roster, now);
  take_offer();
  judge(now, actions);
}

void Membership::lead(std::uint64_t term, std::vector<NodeId> voters, const Roster& roster,
                      TimePoint now) {
  lead_.emplace(self_, boot_, term, std::move(voters), settings_, now);
  lead_->on_roster(roster, now);
  leader_ = self_;
  leader_term_ = std::max(leader_term_, term);
}

void Membership::set_voters(std::vector<NodeId> voters) {
  if (lead_) lead_->set_voters(std::move(voters));
}

void Membership::on_proposal_failed() {
  if (lead_) lead_->on_proposal_failed();
}

void Membership::set_boot(BootId boot, TimePoint now) {
  boot_ = boot;
  boot_since_ = now;
  is_known_boot_ = has_said_lost_ = false;
  granted_.reset();
  offer_.reset();
  lease_from_.reset();
  if (lead_) lead_->set_boot(boot);
}

void Membership::on_link_up(NodeId peer, TimePoint now, Actions& actions) {
  if (lead_) lead_->ping(peer, now, false, actions);
}

// ---- Messages

Result<void> Membership::on_message(NodeId from, BytesView bytes, TimePoint now, Actions& actions) {
  DVS_TRY(const MembershipMessage message, decode_membership(bytes));
  if (const auto* forward = std::get_if<Forward>(&message)) {
    DVS_CHECK(on_forward(from, *forward, now, actions));
  } else {
    DVS_CHECK(take(from, no_node, message, now, actions));
  }
  judge(now, actions);
  return {};
}

Result<void> Membership::on_forward(NodeId from, const Forward& forward, TimePoint now,
                                    Actions& actions) {
  if (forward.target != self_) {
    // One step only: from the origin itself, to the target itself.
    if (forward.origin == from) actions.send(forward.target, forward);
    return {};
  }
  DVS_TRY(const MembershipMessage message, decode_membership(forward.message));
  const bool may_be_inside = std::holds_alternative<Ping>(message) ||
                             std::holds_alternative<Heartbeat>(message) ||
                             std::holds_alternative<Grant>(message);
  if (!may_be_inside) return fail(Errc::protocol_violation, "forwarded what may not be");
  return take(forward.origin, from, message, now, actions);
}

Result<void> Membership::take(NodeId from, NodeId through, const MembershipMessage& message,
                              TimePoint now, Actions& actions) {
  if (const auto* ping = std::get_if<Ping>(&message)) {
    on_ping(from, through, *ping, now, actions);
  } else if (const auto* beat = std::get_if<Heartbeat>(&message)) {
    if (lead_) lead_->on_heartbeat(from, through, *beat, now, actions);
  } else if (const auto* grant = std::get_if<Grant>(&message)) {
    if (accepts_leader(from, grant->term)) on_grant(*grant, now);
  } else if (const auto* probe = std::get_if<Probe>(&message)) {
    on_probe(from, *probe, actions);
  } else if (const auto* support = std::get_if<Support>(&message)) {
    if (lead_) lead_->on_support(from, *support, now, actions);
  }
  return {};
}

// Whether `from` is the leader of the latest term heard of; learns of later ones.
bool Membership::accepts_leader(NodeId from, std::uint64_t term) {
  if (term < leader_term_) return false;
  if (term > leader_term_ || leader_ == no_node) {
    leader_ = from;
    leader_term_ = term;
    answers_ = 0;
  }
  return leader_ == from;
}

void Membership::on_ping(NodeId from, NodeId through, const Ping& ping, TimePoint now,
                         Actions& actions) {
  if (!accepts_leader(from, ping.term) || from == self_) return;
  answers_ = std::max(answers_, ping.asked);
  heartbeat_sent_ = now;
  const Heartbeat answer = heartbeat(now);
  if (through == no_node) return actions.send(from, answer);
  actions.send(through, Forward{self_, from, encode_membership(answer)});
}

void Membership::on_probe(NodeId from, const Probe& probe, Actions& actions) {
  if (!accepts_leader(from, probe.term) || probe.term != engine_term_) return;
  actions.send(from, Support{probe.term, probe.round});
}

void Membership::on_grant(const Grant& grant, TimePoint now) {
  const TimePoint sent = time_of(grant.sent);
  if (sent > now || sent < boot_since_) return;
  granted_ = std::max(granted_.value_or(sent), sent);
  // Of two grants in views to come, the one of the later view will do for both.
  if (!offer_ || grant.view >= offer_->view) offer_ = Offer{grant.view, sent};
  take_offer();
}

void Membership::take_offer() {
  if (!offer_ || offer_->view > view_.number) return;
  lease_from_ = std::max(lease_from_.value_or(offer_->sent), offer_->sent);
  offer_.reset();
}

Heartbeat Membership::heartbeat(TimePoint now) const {
  return {leader_term_, boot_, nanoseconds(now), granted_ ? nanoseconds(*granted_) : 0, answers_};
}

// ---- Time

void Membership::tick(TimePoint now, Actions& actions) {
  if (lead_) {
    lead_->tick(now, actions);
    // The leader's own lease counts from the round that proved that it leads.
    if (const auto since = lead_->supported_since(); since && *since >= boot_since_) {
      lease_from_ = std::max(lease_from_.value_or(*since), *since);
    }
  }
  const bool has_other_leader = leader_ != no_node && leader_ != self_;
  if (has_other_leader && now - heartbeat_sent_ >= settings_.heartbeat) {
    heartbeat_sent_ = now;
    actions.send(leader_, heartbeat(now));
  }
  judge(now, actions);
}

TimePoint Membership::lease_end() const {
  const bool has_lease = lease_from_ && is_known_boot_ && view_.contains(self_);
  return has_lease ? *lease_from_ + holder_lease(settings_) : TimePoint::min();
}

bool Membership::may_act(TimePoint now) const {
  const TimePoint end = lease_end();
  return end != TimePoint::min() && now < end - settings_.freeze_margin;
}

void Membership::judge(TimePoint now, Actions& actions) {
  const bool may = may_act(now);
  if (may == is_acting_) return;
  is_acting_ = may;
  actions.standing = may ? Actions::Standing::may_thaw : Actions::Standing::must_freeze;
}

}  // namespace dvs::cluster
