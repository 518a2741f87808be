// What may stand in the log of the system group, and how it is encoded.
//
// An entry is a proposal: one byte for the version of the command format it needs, who proposes it
// (client and sequence, see sessions.hpp), one byte for which command, then its fields. An entry
// that cannot be read, or that needs a later version than all nodes speak, is refused as a whole
// and changes nothing but the applied index: the same at every replica.
//
// Errors named at a command are the codes of its answer; invalid_argument, for fields outside their
// bounds, is possible everywhere and not repeated.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include <dvs/error.hpp>
#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/wire/codec.hpp"

namespace dvs::cluster {

constexpr std::uint8_t command_version = 1;

enum class BootId : std::uint64_t {};    // one run of a node's kernel; 0 is none
enum class ClientId : std::uint64_t {};  // a session: the index of the entry that opened it

enum class NodeRole : std::uint8_t { client = 0, voter = 1 };

// ---- Sessions

// A new session; its id is the number in the answer. Errors: none.
struct OpenSession {
  void fields(auto&&) {}
};

// ---- Settings. A setting's revision is the index of the entry that wrote it; 0: there is none.

// What a setting must be for a command to take effect.
struct Condition {
  bool is_set = false;
  std::uint64_t revision = 0;
  void fields(auto&& field) { field(is_set, revision); }
};
// Answer: the new revision. Errors: conflict (the number is the present revision), limit_reached.
struct Put {
  std::string key;
  Bytes value;
  Condition expected;
  void fields(auto&& field) { field(key, value, expected); }
};
// Answer: the revision that was deleted, 0 if there was none. Errors: conflict.
struct Delete {
  std::string key;
  Condition expected;
  void fields(auto&& field) { field(key, expected); }
};
struct Comparison {
  std::string key;
  std::uint64_t revision = 0;
  void fields(auto&& field) { field(key, revision); }
};
struct Operation {
  std::string key;
  bool is_put = false;  // false: deletes, and has no value
  Bytes value;
  void fields(auto&& field) { field(key, is_put, value); }
};
// All of the comparisons hold and all of the operations are done, or nothing happens. No key is
// operated on twice. Answer: the new revision. Errors: conflict (`part` is the comparison that does
// not hold, the number its present revision), limit_reached.
struct Transaction {
  std::vector<Comparison> comparisons;
  std::vector<Operation> operations;
  void fields(auto&& field) { field(comparisons, operations); }
};

// ---- Nodes

struct Label {
  std::string name;
  std::string value;
  void fields(auto&& field) { field(name, value); }
  friend auto operator<=>(const Label&, const Label&) = default;
};
// A new node, out of view. Answer: its number, never used before. A cluster whose certificates
// were issued beforehand wishes for the number in them. Errors: name_in_use, conflict (the wished
// number has been used), limit_reached.
struct Join {
  std::string name;
  std::string address;
  Bytes certificate_fingerprint;
  BootId boot{};
  NodeRole role{};
  std::uint8_t speaks = command_version;  // the latest command version the node understands
  NodeId wished = no_node;                // no_node: the next number
  void fields(auto&& field) {
    field(name, address, certificate_fingerprint, boot, role, speaks, wished);
  }
};
// The node is gone for good, and lost with it is what ran there. Errors: not_found, conflict (it is
// in the view: take it out first).
struct Leave {
  NodeId node{};
  void fields(auto&& field) { field(node); }
};
// The node has another address, another release, or has booted again. `replaces` is the boot that
// the state knows. A new boot is accepted only when that one has been declared lost. Errors:
// not_found, conflict (the number is the boot known, or it is not lost).
struct Announce {
  NodeId node{};
  BootId boot{};
  BootId replaces{};
  std::string address;
  std::uint8_t speaks = command_version;
  void fields(auto&& field) { field(node, boot, replaces, address, speaks); }
};
// What people wish for the node; repeating is harmless. Labels: ascending by name, none twice.
// Errors: not_found.
struct SetRole {
  NodeId node{};
  NodeRole role{};
  void fields(auto&& field) { field(node, role); }
};
struct SetDrained {
  NodeId node{};
  bool is_drained = false;
  void fields(auto&& field) { field(node, is_drained); }
};
struct SetLabels {
  NodeId node{};
  std::vector<Label> labels;
  void fields(auto&& field) { field(node, labels); }
};

// ---- Views and losing a node

// The next view. Members: ascending, known, none whose boot is lost; possibly none at all (that is
// how the only node of a cluster leaves the view after a reboot). What nodes out of the new view
// held becomes free. Answer: the number. Errors: conflict (the number is the present view's),
// not_found (the number is the node), not_permitted (the number is a node whose boot is lost).
struct ProposeView {
  std::uint64_t based_on = 0;
  std::vector<NodeId> members;
  void fields(auto&& field) { field(based_on, members); }
};
// That boot of the node is lost, for good. Declaring it again changes nothing. Errors: not_found,
// conflict (the number is the boot known), not_permitted (the node is in the view).
struct DeclareLost {
  NodeId node{};
  BootId boot{};
  void fields(auto&& field) { field(node, boot); }
};

// ---- Authorities. `expected_epoch` 0: there is no such authority yet.

// Answer: the new epoch. The holder itself may claim again. Errors: conflict (another epoch: the
// number is the present one; or another node holds it: likewise), not_permitted (the node is out of
// view), limit_reached.
struct Claim {
  std::string name;
  NodeId node{};
  std::uint64_t expected_epoch = 0;
  void fields(auto&& field) { field(name, node, expected_epoch); }
};
// The holder of that epoch gives it up; the epoch stays. Errors: not_found, conflict.
struct Release {
  std::string name;
  NodeId node{};
  std::uint64_t epoch = 0;
  void fields(auto&& field) { field(name, node, epoch); }
};
// From the holder of that epoch to another node. Answer: the new epoch. Errors: not_found,
// conflict, not_permitted (the other is out of view).
struct HandOver {
  std::string name;
  NodeId from{};
  NodeId to{};
  std::uint64_t epoch = 0;
  void fields(auto&& field) { field(name, from, to, epoch); }
};
// Forgets a free authority; if it is ever claimed anew its epochs go on above all that were
// forgotten. Errors: not_found, conflict (another epoch, or it is held).
struct Forget {
  std::string name;
  std::uint64_t epoch = 0;
  void fields(auto&& field) { field(name, epoch); }
};

// New commands go to the end: the place is the number on the wire.
using Command =
    std::variant<OpenSession, Put, Delete, Transaction, Join, Leave, Announce, SetRole, SetDrained,
                 SetLabels, ProposeView, DeclareLost, Claim, Release, HandOver, Forget>;

// Client 0 has no session: such a command may be applied as often as it stands in the log. That is
// harmless for all that are conditional by nature, and refused for those that are not
// (is_safe_to_repeat).
struct Proposal {
  ClientId client{};
  std::uint64_t sequence = 0;
  Command command;
};

// The same at every replica, and what the proposer is told.
struct Answer {
  std::uint64_t index = 0;  // of the entry that was applied; a repeated proposal's: the first one's
  Errc code{};              // 0: done
  std::uint64_t number = 0;  // as the command says; 0 where it says nothing
  std::uint32_t part = 0;    // of a transaction: which comparison or operation was refused
  bool is_done() const { return code == Errc{}; }
  void fields(auto&& field) { field(index, code, number, part); }
  friend bool operator==(const Answer&, const Answer&) = default;
};

bool is_safe_to_repeat(const Command& command);

Bytes encode_proposal(const Proposal& proposal);
// Errors: version_mismatch (a later version than this code knows), message_too_large,
// protocol_violation. What decodes may still have fields outside their bounds.
Result<Proposal> decode_proposal(BytesView bytes);
Result<std::uint8_t> version_of_proposal(BytesView bytes);

}  // namespace dvs::cluster
