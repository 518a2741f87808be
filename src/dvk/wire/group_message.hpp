// What the members of a group say to each other, inside ordinary dvk messages.
//
// Every message names the view it belongs to. The leader of a view is its first member; it numbers
// the history of the group: a sequence of entries (messages and views) at positions 1, 2, 3, ...
// without gaps, continued from view to view. All messages are idempotent: a member may repeat any
// of them, and it must, when a conversation broke (see dvk/core/group_core.hpp).
//
// Layout: one byte version, one byte for which message, then its fields (codec.hpp). No message
// exceeds group_message_bytes_max, so that it travels in one dvk message with room for the owner's
// own header.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "dvk/wire/codec.hpp"

namespace dvk::wire {

constexpr std::uint8_t group_version = 1;
constexpr std::size_t group_payload_bytes_max = std::size_t{60} * 1024;
constexpr std::size_t group_message_bytes_max = std::size_t{64} * 1024 - 256;
constexpr std::size_t group_members_max = 1024;
// Positions, view numbers and senders' numbers stay below this, so that sums of two never wrap.
constexpr std::uint64_t group_number_max = std::uint64_t{1} << 62;

// A member as a view entry names it.
struct GroupMember {
  dvs::Address address;
  std::uint64_t ordered = 0;  // the last of its own numbers that has a position before this entry
  bool is_joining = false;    // its history begins with this entry
  void fields(auto&& field) { field(address, ordered, is_joining); }
};

enum class GroupEntryKind : std::uint8_t {
  message = 1,  // `number` is the sender's own; with payload
  own = 2,      // a message of the member this is sent to, which has the payload itself
  view = 3,     // `number` is the view's; with members in agreed order, no sender, no payload
};
// One place in the history.
struct GroupEntry {
  GroupEntryKind kind{};
  dvs::Address sender;
  std::uint64_t number = 0;
  std::vector<GroupMember> members;
  dvs::Bytes payload;
  void fields(auto&& field) { field(kind, sender, number, members, payload); }
};

// Member to leader, once it has installed `view`: "I take part, this is what I hold, and I take
// nothing of earlier views any more." The only message that may come before the receiver installed
// the view.
struct GroupReport {
  std::uint64_t view = 0;
  bool has_history = false;       // false: joins; then the rest is 0
  std::uint64_t held = 0;         // all entries up to this position have been here
  std::uint64_t own_ordered = 0;  // the last of the member's own numbers among them
  void fields(auto&& field) { field(view, has_history, held, own_ordered); }
};
// Leader to the member that reported most: send me the entries (after, up_to]. Answered by
// GroupHeld.
struct GroupFetch {
  std::uint64_t view = 0;
  std::uint64_t after = 0;
  std::uint64_t up_to = 0;
  void fields(auto&& field) { field(view, after, up_to); }
};
// Answer to GroupFetch, in as many messages as it takes.
struct GroupHeld {
  std::uint64_t view = 0;
  std::uint64_t first = 0;  // position of entries[0]
  std::vector<GroupEntry> entries;
  void fields(auto&& field) { field(view, first, entries); }
};
// Leader to members: the history goes on with these. Those the member holds already are skipped; a
// gap before `first` means that a broken conversation lost something, which will be repeated.
struct GroupOrdered {
  std::uint64_t view = 0;
  std::uint64_t first = 0;   // position of entries[0]
  std::uint64_t stable = 0;  // as in GroupStable
  bool is_start = false;     // entries[0] is the view with which the receiver joins
  std::vector<GroupEntry> entries;
  void fields(auto&& field) { field(view, first, stable, is_start, entries); }
};
// Member to leader: order these, numbered first_number, first_number + 1, ... Those ordered already
// are skipped, and so is everything after a gap.
struct GroupSubmit {
  std::uint64_t view = 0;
  std::uint64_t acknowledged = 0;  // as in GroupAcknowledge
  std::uint64_t first_number = 0;
  std::vector<dvs::Bytes> payloads;
  void fields(auto&& field) { field(view, acknowledged, first_number, payloads); }
};
// Member to leader (in small views to every member): I hold all entries up to this position.
struct GroupAcknowledge {
  std::uint64_t view = 0;
  std::uint64_t acknowledged = 0;
  void fields(auto&& field) { field(view, acknowledged); }
};
// Leader to members: every member holds all entries up to this position; deliver them.
struct GroupStable {
  std::uint64_t view = 0;
  std::uint64_t stable = 0;
  void fields(auto&& field) { field(view, stable); }
};
// To a member whose conversation with the sender broke: repeat what you have for me, whatever the
// view. `view` is the sender's, 0 if it has none yet; it is only for people who read traces.
struct GroupResume {
  std::uint64_t view = 0;
  void fields(auto&& field) { field(view); }
};

using GroupMessage = std::variant<GroupReport, GroupFetch, GroupHeld, GroupOrdered, GroupSubmit,
                                  GroupAcknowledge, GroupStable, GroupResume>;

dvs::Bytes encode_group(const GroupMessage& message);
// Errors: version_mismatch; protocol_violation for anything malformed, too large or out of range.
dvs::Result<GroupMessage> decode_group(dvs::BytesView bytes);
std::uint64_t view_of(const GroupMessage& message);

// Builds a message whose last field is a list, straight from where the items lie. The finished
// message never exceeds group_message_bytes_max, and one item of the largest allowed size always
// fits.
class GroupBatch {
 public:
  // `head` has an empty list.
  explicit GroupBatch(const GroupMessage& head);

  // For GroupOrdered and GroupHeld. With is_receivers_own the entry goes as GroupEntryKind::own.
  // False: no room, nothing was added.
  [[nodiscard]] bool add(const GroupEntry& entry, bool is_receivers_own);
  // For GroupSubmit.
  [[nodiscard]] bool add(const dvs::Bytes& payload);
  std::uint32_t size() const { return count_; }
  dvs::Bytes finish() &&;

 private:
  bool has_room(std::size_t item_bytes) const;

  dvs::Bytes bytes_;
  std::size_t count_offset_;
  std::uint32_t count_ = 0;
};

}  // namespace dvk::wire
