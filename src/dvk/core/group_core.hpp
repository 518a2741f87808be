// Totally ordered groups with agreed views: the state machine of one member.
//
// All members deliver one history: messages and views at positions 1, 2, 3, ... A member delivers
// an entry only when every member of the view holds it, so what any member delivered outlives each
// of them. docs/handbook/groups.md says what is guaranteed and what it costs.
//
// Within a view the first member is the *leader*: the others submit their messages to it, it gives
// each a position and sends it to all, they acknowledge, and it tells them how far the history is
// stable. In views of at most direct_members_max members everybody acknowledges to everybody
// instead, which then costs no more messages and saves a hop.
//
// A new view is entered in three steps. Each member stops taking anything of earlier views and
// reports to the new leader how far its history goes. Histories of members never contradict each
// other, one is the beginning of the other, because a member enters every view it is in with a
// report; so the leader fetches what it lacks from the member that holds most, appends the view
// entry, and sends each member what follows after its own end. With the view entry a member has
// entered the view. Joining members get the view entry as their first, and only when all members
// that have the history hold it too: otherwise a joining member could know of a view whose past
// died with its leader.
//
// Invariants: the log only grows while this member has a history; own_ holds exactly the own
// messages that are not in the log, in order; all output happens in end_turn().
//
// Not thread-safe; nothing blocks; no I/O, no clock.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/core/group_log.hpp"
#include "dvk/wire/group_message.hpp"

namespace dvk::core {

// Agreed elsewhere: two views of a group with one number are equal. An address that is missing in a
// view must not come back in a later one; whoever rejoins does so as a new incarnation.
struct GroupView {
  std::uint64_t number = 0;           // from 1; later views have higher numbers
  std::vector<dvs::Address> members;  // in agreed order, the same at all members; 1 to 1024
};

// Whatever a member's settings say, a leader takes no more from it.
constexpr std::size_t group_outstanding_max = 4096;

struct GroupSettings {
  // Own messages that may await delivery at this member; multicast() refuses more. From 1 to
  // group_outstanding_max.
  std::size_t outstanding_max = 256;
  // How much may await delivery here (a slow reader) before this member holds back its
  // acknowledgement, or as leader stops ordering, and so slows the group down.
  std::size_t window_bytes = std::size_t{16} << 20;
};

// Takes what is to be sent. The messages to one member must arrive in this order, as long as the
// conversation to it does not break. Must not call back into the core.
class GroupOutput {
 public:
  virtual ~GroupOutput() = default;
  virtual void send(const dvs::Address& member, dvs::Bytes message) = 0;
};

struct GroupMessageDelivery {
  dvs::Address sender;
  std::uint64_t number = 0;    // the sender's own: 1, 2, 3, ...
  std::uint64_t position = 0;  // in the history, shared with views
  dvs::Bytes payload;
};
// From here on the view holds. A member in `joined` begins with this delivery: it needs the state
// as of this position, which a member that has it can send, say, by multicast.
struct GroupViewDelivery {
  std::uint64_t number = 0;
  std::uint64_t position = 0;
  std::vector<dvs::Address> members;
  std::vector<dvs::Address> joined;
};
using GroupDelivery = std::variant<GroupMessageDelivery, GroupViewDelivery>;

class GroupCore {
 public:
  // `output` must outlive the core.
  GroupCore(const dvs::Address& self, GroupOutput& output, const GroupSettings& settings = {});

  // The next view. Views may be skipped; one that is not newer than the last is ignored. A view
  // without this member evicts it for good. Errors: invalid_argument (no members, too many, a
  // doubled one, number 0 or out of range).
  dvs::Result<void> install(const GroupView& view);

  // Takes `payload` (at most 60 KiB) for delivery to all, and returns its number. Possible at any
  // time, also before the first view and between views. The number is delivered here, too, unless
  // this member dies or is evicted, when its last messages may or may not reach the others. Errors:
  // message_too_large; queue_full (later again); not_permitted (evicted).
  dvs::Result<std::uint64_t> multicast(dvs::BytesView payload);

  // A message from `from`, an endpoint that the owner lets take part in the group.
  // Errors: protocol_violation, version_mismatch: `from` sent rubbish and should be kept out of the
  // next view; the core stays usable.
  dvs::Result<void> on_message(const dvs::Address& from, dvs::BytesView message);

  // The conversation with `member` broke and begins anew; what was under way in either direction
  // may be lost. Enough if one of the two members is told.
  void on_peer_broken(const dvs::Address& member);

  // Sends what the calls since the last end_turn() made necessary. Call it when all input at hand
  // has been taken and deliveries have been fetched: what came together is answered together.
  void end_turn();

  // The next entry of the history, in order, once; nothing if none is stable.
  std::optional<GroupDelivery> next_delivery();

  bool is_evicted() const { return is_evicted_; }
  // True once the history has reached the installed view.
  bool is_in_view() const { return view_.number != 0 && log_.view() == view_.number; }
  // The last view installed, number 0 before the first.
  const GroupView& view() const { return view_; }
  // Own messages not delivered here yet.
  std::size_t outstanding() const {
    return static_cast<std::size_t>(last_number_ - last_delivered_);
  }
  // Memory of the history retained here, about.
  std::size_t retained_bytes() const { return log_.bytes(); }

 private:
  // Another member of the installed view.
  struct Peer {
    // At the leader: all the member holds. In direct views: what it told everybody.
    std::uint64_t acknowledged = 0;
    std::uint64_t told_acknowledged = 0;  // what this member acknowledged to it
    // The rest is the leader's.
    std::optional<wire::GroupReport> report;
    bool is_joining = false;
    bool is_started = false;  // may be sent the history from `sent` on
    std::uint64_t sent = 0;
    std::uint64_t told_stable = 0;
    std::uint64_t submitted = 0;  // its last number taken for ordering
  };
  struct Submitted {
    dvs::Address sender;
    std::uint64_t number;
    dvs::Bytes payload;
  };
  struct Own {
    std::uint64_t number;
    dvs::Bytes payload;
  };
  struct Range {
    std::uint64_t after;
    std::uint64_t up_to;
  };

  static std::unexpected<dvs::Error> violation(const dvs::Address& from, const std::string& what);
  const dvs::Address& leader() const { return view_.members.front(); }
  bool is_leader() const { return leader() == self_; }
  bool is_direct() const;
  dvs::Result<void> check_view(const GroupView& view) const;
  void evict();
  void enter(const GroupView& view);

  dvs::Result<void> on_other_view(const dvs::Address& from, const wire::GroupMessage& message);
  void keep_early(const dvs::Address& from, const wire::GroupReport& report);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupReport& report);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupFetch& fetch);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupHeld& held);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupOrdered& ordered);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupSubmit& submit);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupAcknowledge& message);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupStable& message);
  dvs::Result<void> take(const dvs::Address& from, Peer& peer, wire::GroupResume& message);
  dvs::Result<void> acknowledge(const dvs::Address& from, Peer& peer, std::uint64_t acknowledged);

  bool matches_view(const wire::GroupEntry& entry) const;
  bool knows_own_numbers(const wire::GroupEntry& entry) const;
  dvs::Result<bool> begin_history(const wire::GroupOrdered& ordered);
  dvs::Result<void> append_all(std::uint64_t first, std::vector<wire::GroupEntry>& entries);
  dvs::Result<void> append_view(wire::GroupEntry entry);
  dvs::Result<void> append(wire::GroupEntry entry);
  dvs::Result<void> raise_stable(std::uint64_t stable);
  void settle();
  void repeat(const dvs::Address& member, Peer& peer);

  bool continues(const dvs::Address& member, const wire::GroupReport& report) const;
  void choose_history();
  void proceed_to_view();
  std::vector<wire::GroupMember> describe_members() const;
  void decide();

  void lead();
  void order();
  void start_joining();
  void distribute(const dvs::Address& member, Peer& peer);
  void follow();
  void submit(Peer& leader_peer);
  void answer_fetch();
  void acknowledge_to(const dvs::Address& member, Peer& peer);

  const dvs::Address self_;
  GroupOutput& output_;
  const GroupSettings settings_;

  GroupView view_;  // installed; number 0: none yet
  bool is_evicted_ = false;
  bool has_history_ = false;  // the log is that of the group
  GroupLog log_;
  std::uint64_t stable_ = 0;  // every member holds all entries up to here
  // A leader that joins may hold entries before its own start.
  std::uint64_t first_deliverable_ = 1;

  std::deque<Own> own_;
  std::uint64_t last_number_ = 0;     // of own messages, given
  std::uint64_t last_delivered_ = 0;  // of own messages, delivered here

  std::map<dvs::Address, Peer> peers_;
  std::map<dvs::Address, wire::GroupReport> early_reports_;  // of views not installed yet
  bool has_dropped_reports_ = false;                         // or may have
  std::set<dvs::Address>
      resume_to_;  // asked in the next end_turn() to repeat what they have for us

  // As member.
  bool has_reported_ = false;
  std::uint64_t submitted_ = 0;  // own numbers up to this have been sent to the leader in this view
  std::optional<Range> asked_for_;  // the leader's fetch

  // As leader.
  std::optional<dvs::Address>
      holder_;                     // the member with the longest history, once all have reported
  std::uint64_t history_end_ = 0;  // where its history ends
  bool must_fetch_ = false;
  std::uint64_t entry_position_ = 0;  // of this view's entry
  std::deque<Submitted> submitted_to_us_;
  bool is_own_turn_ = false;
};

}  // namespace dvk::core
