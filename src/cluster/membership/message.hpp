// What the membership machines of the nodes say to each other.
//
// All messages are idempotent, may be lost, repeated and overtake each other. Layout: one byte
// version, one byte for which, then its fields (codec.hpp). Times are nanoseconds of the clock of
// the node that wrote them first; others only hand them back.
#pragma once

#include <cstdint>
#include <variant>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "cluster/state/command.hpp"
#include "dvk/wire/codec.hpp"

namespace dvs::cluster {

constexpr std::uint8_t membership_version = 1;
constexpr std::size_t membership_message_bytes_max = 256;

// Leader to any node: "I lead in this term; let me hear you."
struct Ping {
  std::uint64_t term = 0;
  std::int64_t asked = 0;  // the leader's time
  void fields(auto&& field) { field(term, asked); }
};
// Any node to the leader, all the time.
struct Heartbeat {
  std::uint64_t term = 0;  // of the leader it is meant for
  BootId boot{};
  std::int64_t sent = 0;     // the node's time
  std::int64_t granted = 0;  // `sent` of the latest heartbeat that was granted; 0: none
  std::int64_t answers = 0;  // `asked` of the latest ping of this term; 0: none
  void fields(auto&& field) { field(term, boot, sent, granted, answers); }
};
// Leader to a member of its view: "your heartbeat sent then was heard, and a majority of the voters
// supported me after that."
struct Grant {
  std::uint64_t term = 0;
  std::uint64_t view = 0;
  std::int64_t sent = 0;
  void fields(auto&& field) { field(term, view, sent); }
};
// Leader to the voters: "is this still my term?"
struct Probe {
  std::uint64_t term = 0;
  std::uint64_t round = 0;
  void fields(auto&& field) { field(term, round); }
};
// A voter whose engine is in that term: "it is." Never after its engine has been in a later one.
struct Support {
  std::uint64_t term = 0;
  std::uint64_t round = 0;
  void fields(auto&& field) { field(term, round); }
};
// To a voter: pass this on. The voter is the second witness of whether target and origin live. What
// is inside is a Ping, a Heartbeat or a Grant.
struct Forward {
  NodeId origin{};
  NodeId target{};
  Bytes message;
  void fields(auto&& field) { field(origin, target, message); }
};

using MembershipMessage = std::variant<Ping, Heartbeat, Grant, Probe, Support, Forward>;

Bytes encode_membership(const MembershipMessage& message);
// Errors: version_mismatch, protocol_violation.
Result<MembershipMessage> decode_membership(BytesView bytes);

}  // namespace dvs::cluster
