// The leader's side of the group: entering a view and ordering the history.
#include <algorithm>
#include <string>

#include "base/assert.hpp"
#include "dvk/core/group_core.hpp"

namespace dvk::core {

using dvs::Address;
using dvs::Errc;
using dvs::Result;
using wire::GroupBatch;
using wire::GroupEntry;
using wire::GroupEntryKind;

// --- Entering a view

Result<void> GroupCore::take(const Address& from, Peer& peer, wire::GroupReport& report) {
  if (!is_leader()) return violation(from, "reports to a member that does not lead");
  if (is_in_view() || peer.report) return {};
  // All that was released here was held by every member.
  if (report.has_history && has_history_ && report.held < log_.base()) {
    return violation(from, "lost what it acknowledged");
  }
  peer.report = report;
  proceed_to_view();
  return {};
}

Result<void> GroupCore::take(const Address& from, Peer&, wire::GroupHeld& held) {
  if (!is_leader()) return violation(from, "sends history to a member that does not lead");
  if (is_in_view()) return {};
  if (holder_ != from) return violation(from, "sends history unasked");
  if (held.first > log_.held() + 1) return {};  // something was lost and will be fetched again
  if (held.first + held.entries.size() - 1 > history_end_) {
    return violation(from, "sends more history than it reported");
  }
  const auto is_past = [&](const GroupEntry& entry) {
    return entry.kind != GroupEntryKind::view || entry.number < view_.number;
  };
  if (!std::ranges::all_of(held.entries, is_past)) return violation(from, "sends a future view");
  DVS_CHECK(append_all(held.first, held.entries));
  proceed_to_view();
  return {};
}

void GroupCore::proceed_to_view() {
  if (is_evicted_ || !is_leader() || is_in_view()) return;
  const auto has_reported = [](const auto& item) { return item.second.report.has_value(); };
  if (!std::ranges::all_of(peers_, has_reported)) return;
  if (!holder_) choose_history();
  if (log_.held() == history_end_) decide();
}

// Every history is the beginning of the longest, so that one is their union.
void GroupCore::choose_history() {
  history_end_ = log_.held();
  std::uint64_t least = wire::group_number_max;
  for (const auto& [member, peer] : peers_) {
    if (!peer.report->has_history) continue;
    least = std::min(least, peer.report->held);
    if (peer.report->held <= history_end_) continue;
    history_end_ = peer.report->held;
    holder_ = member;
  }
  // A leader that joins needs what some member lacks, to pass it on.
  if (!has_history_ && holder_) log_.start_at(least);
  must_fetch_ = log_.held() < history_end_;
}

// Whether the history that `member` reports is a beginning of ours, as it is if it was in all
// views.
bool GroupCore::continues(const Address& member, const wire::GroupReport& report) const {
  return report.has_history && (log_.view() == 0 || log_.had_member(member));
}

std::vector<wire::GroupMember> GroupCore::describe_members() const {
  std::vector<wire::GroupMember> members;
  for (const Address& member : view_.members) {
    if (member == self_) {
      members.push_back({self_, log_.ordered(self_), !has_history_});
      continue;
    }
    const wire::GroupReport& report = *peers_.at(member).report;
    // A leader that joins may hold none of a member's messages, then the member knows best.
    const std::uint64_t ordered = log_.ordered(member, report.own_ordered);
    members.push_back({member, ordered, !continues(member, report)});
  }
  return members;
}

void GroupCore::decide() {
  entry_position_ = log_.held() + 1;
  GroupEntry entry{GroupEntryKind::view, {}, view_.number, describe_members(), {}};
  for (const auto& described : entry.members) {
    if (described.address == self_) continue;
    Peer& peer = peers_.at(described.address);
    peer.is_joining = described.is_joining;
    peer.is_started = !described.is_joining;
    // One that joins needs nothing of what was before, which is as good as holding it.
    peer.acknowledged = described.is_joining ? log_.held() : peer.report->held;
    peer.sent = peer.acknowledged;
    peer.submitted = described.ordered;
  }
  const auto appended = log_.append(std::move(entry));
  DVS_ASSERT(appended);
  if (!has_history_) first_deliverable_ = entry_position_;
  has_history_ = true;
  settle();
}

// --- Ordering

Result<void> GroupCore::take(const Address& from, Peer& peer, wire::GroupSubmit& submitted) {
  if (!is_leader() || !is_in_view())
    return violation(from, "submits to a member that does not lead");
  DVS_CHECK(acknowledge(from, peer, submitted.acknowledged));
  std::uint64_t number = submitted.first_number;
  for (dvs::Bytes& payload : submitted.payloads) {
    if (number > peer.submitted + 1) break;  // something was lost and will be repeated
    if (number++ <= peer.submitted) continue;
    if (peer.submitted - log_.ordered(from) >= group_outstanding_max) {
      return violation(from, "submits more than may be outstanding");
    }
    submitted_to_us_.push_back({from, ++peer.submitted, std::move(payload)});
  }
  settle();
  return {};
}

void GroupCore::lead() {
  if (!is_in_view()) {
    if (!std::exchange(must_fetch_, false)) return;
    const wire::GroupFetch fetch{view_.number, log_.held(), history_end_};
    output_.send(*holder_, wire::encode_group(fetch));
    return;
  }
  order();
  settle();
  start_joining();
  for (auto& [member, peer] : peers_) distribute(member, peer);
}

// Gives positions, to own messages and to others' in turn, as long as deliveries here keep up.
void GroupCore::order() {
  while (log_.bytes() < settings_.window_bytes && !(own_.empty() && submitted_to_us_.empty())) {
    const bool takes_own = submitted_to_us_.empty() || (is_own_turn_ && !own_.empty());
    is_own_turn_ = !takes_own;
    GroupEntry entry{GroupEntryKind::message, self_, 0, {}, {}};
    if (takes_own) {
      entry.number = own_.front().number;
      entry.payload = std::move(own_.front().payload);
      own_.pop_front();
    } else {
      Submitted& next = submitted_to_us_.front();
      entry.sender = next.sender;
      entry.number = next.number;
      entry.payload = std::move(next.payload);
      submitted_to_us_.pop_front();
    }
    const auto appended = log_.append(std::move(entry));
    DVS_ASSERT(appended);
  }
}

void GroupCore::start_joining() {
  const auto holds_view = [&](const auto& item) {
    return item.second.is_joining || item.second.acknowledged >= entry_position_;
  };
  if (!std::ranges::all_of(peers_, holds_view)) return;
  for (auto& [member, peer] : peers_) peer.is_started = true;
}

void GroupCore::distribute(const Address& member, Peer& peer) {
  if (!peer.is_started) return;
  while (peer.sent < log_.held()) {
    const std::uint64_t first = peer.sent + 1;
    const bool is_start = peer.is_joining && first == entry_position_;
    GroupBatch batch(wire::GroupOrdered{view_.number, first, stable_, is_start, {}});
    while (peer.sent < log_.held()) {
      const GroupEntry& entry = log_.at(peer.sent + 1);
      if (!batch.add(entry, entry.sender == member)) break;
      ++peer.sent;
    }
    peer.told_stable = stable_;
    output_.send(member, std::move(batch).finish());
  }
  if (is_direct() || peer.told_stable >= stable_) return;
  peer.told_stable = stable_;
  output_.send(member, wire::encode_group(wire::GroupStable{view_.number, stable_}));
}

}  // namespace dvk::core
