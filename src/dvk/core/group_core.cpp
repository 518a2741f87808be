// The member's side of the group, and what all sides share; the leader's is in
// group_core_leader.cpp.
#include "dvk/core/group_core.hpp"

#include <algorithm>
#include <string>

#include "base/assert.hpp"

namespace dvk::core {

using dvs::Address;
using dvs::Errc;
using dvs::Result;
using wire::GroupBatch;
using wire::GroupEntry;
using wire::GroupEntryKind;

namespace {

// Up to here acknowledging to all costs no more messages than acknowledging to the leader and being
// told: (n - 1) * (n - 1) against 2 * (n - 1). All members must agree on it.
constexpr std::size_t direct_members_max = 3;

}  // namespace

GroupCore::GroupCore(const Address& self, GroupOutput& output, const GroupSettings& settings)
    : self_(self), output_(output), settings_(settings) {}

bool GroupCore::is_direct() const {
  return view_.members.size() <= direct_members_max;
}

std::unexpected<dvs::Error> GroupCore::violation(const Address& from, const std::string& what) {
  return dvs::fail(Errc::protocol_violation, "group member " + dvs::to_string(from) + ": " + what);
}

// --- Views

Result<void> GroupCore::check_view(const GroupView& view) const {
  if (view.number == 0 || view.number >= wire::group_number_max) {
    return dvs::fail(Errc::invalid_argument, "view number " + std::to_string(view.number));
  }
  if (view.members.empty() || view.members.size() > wire::group_members_max) {
    return dvs::fail(Errc::invalid_argument,
                     "view of " + std::to_string(view.members.size()) + " members");
  }
  const std::set<Address> members(view.members.begin(), view.members.end());
  if (members.size() != view.members.size() || !*members.begin()) {
    return dvs::fail(Errc::invalid_argument, "view with a doubled or an empty address");
  }
  return {};
}

Result<void> GroupCore::install(const GroupView& view) {
  DVS_CHECK(check_view(view));
  if (is_evicted_ || view.number <= view_.number) return {};
  if (std::ranges::find(view.members, self_) == view.members.end()) {
    view_ = view;
    evict();
    return {};
  }
  enter(view);
  return {};
}

void GroupCore::evict() {
  is_evicted_ = true;
  own_.clear();
  peers_.clear();
  early_reports_.clear();
  submitted_to_us_.clear();
}

void GroupCore::enter(const GroupView& view) {
  view_ = view;
  has_reported_ = false;
  submitted_ = 0;
  asked_for_.reset();
  holder_.reset();
  must_fetch_ = false;
  submitted_to_us_.clear();
  // What a joining leader fetched for a view that came to nothing.
  if (!has_history_) log_.start_at(0);
  peers_.clear();
  for (const Address& member : view_.members) {
    if (member != self_) peers_.try_emplace(member);
  }
  for (auto& [member, peer] : peers_) {
    const auto early = early_reports_.find(member);
    if (early == early_reports_.end() || early->second.view != view_.number) {
      if (is_leader() && has_dropped_reports_) resume_to_.insert(member);
    } else if (is_leader()) {
      // A report that cannot be true is as good as none: the view waits for its successor.
      std::ignore = take(member, peer, early->second);
    }
  }
  std::erase_if(early_reports_, [&](const auto& item) { return item.second.view <= view_.number; });
  proceed_to_view();
}

void GroupCore::keep_early(const Address& from, const wire::GroupReport& report) {
  const auto known = early_reports_.find(from);
  if (known != early_reports_.end()) {
    if (known->second.view < report.view) known->second = report;
  } else if (early_reports_.size() < wire::group_members_max) {
    early_reports_.emplace(from, report);
  } else {
    has_dropped_reports_ = true;  // the members are asked again when the view comes
  }
}

// --- Input

Result<std::uint64_t> GroupCore::multicast(dvs::BytesView payload) {
  if (is_evicted_) return dvs::fail(Errc::not_permitted, "evicted from the group");
  if (payload.size() > wire::group_payload_bytes_max) {
    return dvs::fail(Errc::message_too_large,
                     "group message of " + std::to_string(payload.size()) + " bytes");
  }
  if (outstanding() >= std::min(settings_.outstanding_max, group_outstanding_max)) {
    return dvs::fail(Errc::queue_full,
                     std::to_string(outstanding()) + " own messages await delivery");
  }
  own_.push_back({++last_number_, dvs::to_bytes(payload)});
  return last_number_;
}

Result<void> GroupCore::on_message(const Address& from, dvs::BytesView bytes) {
  if (is_evicted_) return {};
  DVS_TRY(wire::GroupMessage message, wire::decode_group(bytes));
  const auto found = peers_.find(from);
  if (std::holds_alternative<wire::GroupResume>(message)) {
    if (found != peers_.end()) repeat(from, found->second);
    return {};
  }
  if (wire::view_of(message) != view_.number) return on_other_view(from, message);
  if (found == peers_.end())
    return violation(from, "is not in view " + std::to_string(view_.number));
  return std::visit([&](auto& body) { return take(from, found->second, body); }, message);
}

Result<void> GroupCore::on_other_view(const Address& from, const wire::GroupMessage& message) {
  if (wire::view_of(message) < view_.number) return {};  // that view is over
  if (const auto* report = std::get_if<wire::GroupReport>(&message)) {
    keep_early(from, *report);
    return {};
  }
  // Nobody has anything else for us before our own report for that view.
  return violation(from, "message of a view that was not reported for");
}

Result<void> GroupCore::take(const Address& from, Peer&, wire::GroupFetch& fetch) {
  if (from != leader()) return violation(from, "fetches, but does not lead");
  if (is_in_view()) return {};
  if (!has_history_ || fetch.after < log_.base() || fetch.up_to > log_.held()) {
    return violation(from, "fetches what is not held");
  }
  asked_for_ = Range{fetch.after, fetch.up_to};
  return {};
}

Result<void> GroupCore::take(const Address& from, Peer&, wire::GroupOrdered& ordered) {
  if (from != leader()) return violation(from, "orders, but does not lead");
  DVS_TRY(const bool follows, begin_history(ordered));
  if (!follows) return {};
  DVS_CHECK(append_all(ordered.first, ordered.entries));
  if (is_evicted_) return {};
  DVS_CHECK(raise_stable(ordered.stable));
  settle();
  return {};
}

Result<void> GroupCore::take(const Address& from, Peer&, wire::GroupStable& message) {
  if (from != leader()) return violation(from, "announces stability, but does not lead");
  if (!has_history_) return {};
  return raise_stable(message.stable);
}

Result<void> GroupCore::take(const Address& from, Peer& peer, wire::GroupAcknowledge& message) {
  DVS_CHECK(acknowledge(from, peer, message.acknowledged));
  settle();
  return {};
}

Result<void> GroupCore::take(const Address&, Peer&, wire::GroupResume&) {
  return {};  // taken before, whatever its view
}

Result<void> GroupCore::acknowledge(const Address& from, Peer& peer, std::uint64_t acknowledged) {
  if (is_leader()) {
    if (!peer.is_started || acknowledged > log_.held()) {
      return violation(from, "acknowledges what it was not sent");
    }
    // It may have had what was about to be repeated.
    peer.sent = std::max(peer.sent, acknowledged);
  } else if (!is_direct()) {
    return violation(from, "acknowledges to a member that does not lead");
  }
  peer.acknowledged = std::max(peer.acknowledged, acknowledged);
  return {};
}

void GroupCore::on_peer_broken(const Address& member) {
  if (is_evicted_) return;
  const auto found = peers_.find(member);
  if (found == peers_.end()) {
    // Perhaps a report for a view that is not known here yet. It is asked for then, and not now:
    // one that is out of reach for ever would be asked for ever.
    has_dropped_reports_ = true;
    return;
  }
  resume_to_.insert(member);
  repeat(member, found->second);
}

// Everything sent to `member` in this view that it has not confirmed may be lost.
void GroupCore::repeat(const Address& member, Peer& peer) {
  peer.told_acknowledged = 0;
  if (is_leader()) {
    peer.sent = peer.acknowledged;
    peer.told_stable = 0;
    must_fetch_ = must_fetch_ || (!is_in_view() && holder_ == member);
  } else if (member == leader()) {
    has_reported_ = false;
    submitted_ = 0;
  }
}

// --- History

// Whether the entries follow on what is here; if not, they are to be ignored.
Result<bool> GroupCore::begin_history(const wire::GroupOrdered& ordered) {
  if (has_history_) {
    if (ordered.is_start && !is_in_view()) {
      // The history went on without this member: it was left out of a view it never heard of.
      evict();
      return false;
    }
    return ordered.first <= log_.held() + 1;
  }
  if (!ordered.is_start) return false;
  const GroupEntry& entry = ordered.entries.front();
  if (entry.kind != GroupEntryKind::view || !matches_view(entry) || !knows_own_numbers(entry)) {
    return violation(leader(), "starts this member with another view");
  }
  log_.start_at(ordered.first - 1);
  has_history_ = true;
  return true;
}

bool GroupCore::matches_view(const GroupEntry& entry) const {
  return entry.number == view_.number &&
         std::ranges::equal(entry.members, view_.members, {}, &wire::GroupMember::address);
}

// Whether the count of this member's messages that a view entry gives agrees with own_.
bool GroupCore::knows_own_numbers(const GroupEntry& entry) const {
  const auto found = std::ranges::find(entry.members, self_, &wire::GroupMember::address);
  const std::uint64_t next = own_.empty() ? last_number_ + 1 : own_.front().number;
  return found == entry.members.end() || found->ordered + 1 == next;
}

Result<void> GroupCore::append_all(std::uint64_t first, std::vector<GroupEntry>& entries) {
  std::uint64_t position = first;
  for (GroupEntry& entry : entries) {
    if (position++ <= log_.held()) continue;
    DVS_CHECK(append(std::move(entry)));
    if (is_evicted_) return {};
  }
  return {};
}

Result<void> GroupCore::append_view(GroupEntry entry) {
  if (entry.number > view_.number || (entry.number == view_.number && !matches_view(entry))) {
    return violation(leader(), "view entry differs from the installed view");
  }
  if (!knows_own_numbers(entry)) return violation(leader(), "miscounts an own message");
  for (const auto& member : entry.members) {
    // One that joins needs nothing of what was before, which is as good as holding it.
    const auto peer = peers_.find(member.address);
    if (member.is_joining && entry.number == view_.number && peer != peers_.end()) {
      peer->second.acknowledged = std::max(peer->second.acknowledged, log_.held());
    }
  }
  DVS_CHECK(log_.append(std::move(entry)));
  if (has_history_ && !log_.had_member(self_)) evict();
  return {};
}

Result<void> GroupCore::append(GroupEntry entry) {
  if (entry.kind == GroupEntryKind::view) return append_view(std::move(entry));
  if (entry.sender != self_) {
    if (entry.kind == GroupEntryKind::own) return violation(leader(), "withholds a payload");
    return log_.append(std::move(entry));
  }
  if (own_.empty() || own_.front().number != entry.number) {
    return violation(leader(), "orders an own message twice or out of order");
  }
  // The log checks the number first and leaves the entry alone if it refuses.
  entry.kind = GroupEntryKind::message;
  entry.payload.swap(own_.front().payload);
  if (auto appended = log_.append(std::move(entry)); !appended) {
    entry.payload.swap(own_.front().payload);
    return appended;
  }
  own_.pop_front();
  return {};
}

Result<void> GroupCore::raise_stable(std::uint64_t stable) {
  if (stable > log_.held()) return violation(leader(), "calls stable what is not held");
  stable_ = std::max(stable_, stable);
  return {};
}

// What all are known to hold is stable.
void GroupCore::settle() {
  if (!is_in_view() || !(is_leader() || is_direct())) return;
  std::uint64_t least = log_.held();
  for (const auto& [member, peer] : peers_) {
    // Whatever the leader ordered it holds itself.
    if (is_leader() || member != leader()) least = std::min(least, peer.acknowledged);
  }
  stable_ = std::max(stable_, least);
}

std::optional<GroupDelivery> GroupCore::next_delivery() {
  while (log_.base() < stable_) {
    GroupEntry entry = log_.take_front();
    const std::uint64_t position = log_.base();
    if (position < first_deliverable_) continue;
    if (entry.kind == GroupEntryKind::message) {
      if (entry.sender == self_) last_delivered_ = entry.number;
      return GroupMessageDelivery{entry.sender, entry.number, position, std::move(entry.payload)};
    }
    GroupViewDelivery view{entry.number, position, {}, {}};
    for (const auto& member : entry.members) {
      view.members.push_back(member.address);
      if (member.is_joining) view.joined.push_back(member.address);
    }
    return view;
  }
  return std::nullopt;
}

// --- Output

void GroupCore::end_turn() {
  if (is_evicted_) return;
  for (const Address& member : std::exchange(resume_to_, {})) {
    output_.send(member, wire::encode_group(wire::GroupResume{view_.number}));
  }
  if (view_.number == 0) return;
  is_leader() ? lead() : follow();
}

void GroupCore::follow() {
  Peer& leader_peer = peers_.at(leader());
  if (is_in_view()) {
    submit(leader_peer);
    for (auto& [member, peer] : peers_) {
      if (is_direct() || member == leader()) acknowledge_to(member, peer);
    }
  } else if (!std::exchange(has_reported_, true)) {
    wire::GroupReport report{view_.number, has_history_, 0, 0};
    if (has_history_) report.held = log_.held();
    if (has_history_) report.own_ordered = log_.ordered(self_);
    output_.send(leader(), wire::encode_group(report));
  }
  answer_fetch();
}

void GroupCore::submit(Peer& leader_peer) {
  auto next = std::ranges::upper_bound(own_, submitted_, {}, &Own::number);
  while (next != own_.end()) {
    const std::uint64_t acknowledged = log_.position_within(settings_.window_bytes);
    GroupBatch batch(wire::GroupSubmit{view_.number, acknowledged, next->number, {}});
    while (next != own_.end() && batch.add(next->payload)) submitted_ = next++->number;
    leader_peer.told_acknowledged = acknowledged;
    output_.send(leader(), std::move(batch).finish());
  }
}

void GroupCore::acknowledge_to(const Address& member, Peer& peer) {
  const std::uint64_t acknowledged = log_.position_within(settings_.window_bytes);
  if (acknowledged <= peer.told_acknowledged) return;
  peer.told_acknowledged = acknowledged;
  output_.send(member, wire::encode_group(wire::GroupAcknowledge{view_.number, acknowledged}));
}

void GroupCore::answer_fetch() {
  if (!asked_for_) return;
  const Range range = *std::exchange(asked_for_, std::nullopt);
  if (range.after < log_.base()) return;  // delivered since, so the leader has it from elsewhere
  std::uint64_t position = range.after + 1;
  while (position <= range.up_to) {
    GroupBatch batch(wire::GroupHeld{view_.number, position, {}});
    while (position <= range.up_to && batch.add(log_.at(position), false)) ++position;
    output_.send(leader(), std::move(batch).finish());
  }
}

}  // namespace dvk::core
