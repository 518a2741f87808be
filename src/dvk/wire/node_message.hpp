// What daemons say to each other over a link's lanes. One variant, one byte of type, then the
// fields.
//
// Lanes deliver each message once and in order within a session; after a session is lost the sender
// repeats what still matters (see each message). Relayed packets and copied bytes have a cheaper
// form (`RelayHead`, `CopyDataHead`) since they are the hot ones.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dvk/wire/codec.hpp"
#include "dvk/wire/packet.hpp"

namespace dvk::wire {

// First byte of every message on a lane.
enum class NodeMessageForm : std::uint8_t {
  control = 1,    // NodeMessage follows
  packet = 2,     // an encoded packet follows
  copy_data = 3,  // pieces of copies follow, one behind the other: CopyDataHead and its bytes
};

// --- Conversations between endpoints of two nodes
// -------------------------------------------------

// "My endpoint wants to talk to yours." Sent before the first packet, and again after a lost
// session or a move. Idempotent. Answered by Opened.
struct Open {
  Address from{}, to{};
  std::string from_name{};
  std::uint32_t from_uid = 0;
  std::uint64_t from_moves = 0;  // an Open from where it was before may come later than this one
  void fields(auto&& field) { field(from, to, from_name, from_uid, from_moves); }
};

enum class OpenStatus : std::uint8_t {
  open = 0,
  frozen = 1,   // it is about to move: wait for Moved or Resumed
  moved = 2,    // ask `node`
  dead = 3,     // that incarnation lived here and ended
  unknown = 4,  // not here; `node` is set if its life began here once
  not_permitted = 5,
  reopen = 6,  // packets came for a conversation that is not open here: send Open again
};
// Answer to Open, and also sent unasked when something about `to` changed. Idempotent.
struct Opened {
  Address from{}, to{};
  OpenStatus status{};
  dvs::NodeId node{};
  void fields(auto&& field) { field(from, to, status, node); }
};

// Sent to every node with an open conversation: the incarnation ended. Idempotent.
struct Gone {
  Address who{};
  void fields(auto&& field) { field(who); }
};
// The endpoint lives on `node` now. Idempotent.
struct Moved {
  Address who{};
  dvs::NodeId node{};
  void fields(auto&& field) { field(who, node); }
};
// A move was given up: the endpoint takes packets again. Idempotent.
struct Resumed {
  Address who{};
  void fields(auto&& field) { field(who); }
};

// --- Directory: agent to authority and back ------------------------------------------------------
// Every request carries the view its sender is in; an authority of another view answers not_ready
// and the agent asks again.

struct DirectoryEntry {
  Address address{};
  std::string name{};  // empty: known only because it moved
  bool is_backup = false;
  // How often this life has moved: of two places that are told of, the later one counts.
  std::uint64_t moves = 0;
  void fields(auto&& field) { field(address, name, is_backup, moves); }
};
// Registers a name, a backup for a name, or the new place of a moved endpoint. Idempotent per
// address.
struct Register {
  std::uint64_t request = 0, view = 0;
  DirectoryEntry entry{};
  void fields(auto&& field) { field(request, view, entry); }
};
struct Registered {
  std::uint64_t request = 0;
  Errc error{};          // 0: done
  dvs::EndpointId id{};  // the id the name has always had; the registrant takes it over
  void fields(auto&& field) { field(request, error, id); }
};
struct Unregister {
  Address address{};
  std::uint64_t moves = 0;  // what is known of it after later moves stays
  void fields(auto&& field) { field(address, moves); }
};
struct Lookup {
  std::uint64_t request = 0, view = 0;
  dvs::ContainerId container{};
  std::string name{};
  void fields(auto&& field) { field(request, view, container, name); }
};
// Where does this endpoint live? Answered by LookupResult.
struct Locate {
  std::uint64_t request = 0, view = 0;
  Address address{};
  void fields(auto&& field) { field(request, view, address); }
};
struct LookupResult {
  std::uint64_t request = 0;
  Errc error{};
  Address address{};
  dvs::NodeId node{};
  void fields(auto&& field) { field(request, error, address, node); }
};
// All entries of one node, in pieces, after a change of view. Replaces what the authority knew of
// that node.
struct Report {
  std::uint64_t view = 0;
  bool is_first = false, is_last = false;
  std::vector<DirectoryEntry> entries{};
  void fields(auto&& field) { field(view, is_first, is_last, entries); }
};
// Authority to agent: report again. A node is gone, and what had moved away from it may be known to
// its new node only.
struct ReportQuery {
  std::uint64_t view = 0;
  void fields(auto&& field) { field(view); }
};
// The primary of `name` died: your endpoint `backup` takes its place under `id`.
struct Promote {
  Address backup{};
  dvs::EndpointId id{};
  std::string name{};
  void fields(auto&& field) { field(backup, id, name); }
};

// --- Moving an endpoint: source S, target T. S alone decides.
// -------------------------------------

// One piece of the frozen endpoint's state. Pieces come in order.
struct MovePrepare {
  std::uint64_t move = 0;
  Address address{};
  std::string name{};
  std::uint32_t uid = 0;
  std::uint64_t moves = 0;  // before this one
  std::uint64_t total_bytes = 0;
  Bytes piece{};
  void fields(auto&& field) { field(move, address, name, uid, moves, total_bytes, piece); }
};
// T to S: so much of the state is here, go on. Keeps a large state from filling the lane.
struct MoveMore {
  std::uint64_t move = 0;
  std::uint64_t received_bytes = 0;
  void fields(auto&& field) { field(move, received_bytes); }
};
// T to S: a process there has taken the state over and waits for the decision (error 0), or none
// will.
struct MoveReady {
  std::uint64_t move = 0;
  Errc error{};
  void fields(auto&& field) { field(move, error); }
};
// S to T: the decision. Repeated whenever T asks, and a commit after a lost session until
// MoveSettled.
struct MoveDecision {
  std::uint64_t move = 0;
  bool is_commit = false;
  void fields(auto&& field) { field(move, is_commit); }
};
// T to S after a lost session: what was decided? S answers MoveDecision; what S does not know is
// aborted.
struct MoveQuery {
  std::uint64_t move = 0;
  void fields(auto&& field) { field(move); }
};
// T to S: the directory has been told of the new place, S need not answer for it any more.
struct MoveSettled {
  std::uint64_t move = 0;
  void fields(auto&& field) { field(move); }
};

// --- Copies --------------------------------------------------------------------------------------

// One side of a copy: a range of an endpoint's memory. Grant 0 is the orderer's own memory, and
// then `offset` is an address.
struct CopySide {
  Address endpoint{};
  std::uint64_t grant = 0;
  std::uint64_t offset = 0;
  void fields(auto&& field) { field(endpoint, grant, offset); }
};
// Orderer's node to the source's node, and from there (as is) to the target's node unless that is
// the orderer's: begin.
struct CopyStart {
  std::uint64_t copy = 0;  // unique per orderer's node
  dvs::NodeId orderer_node{};
  Address orderer{};
  CopySide source{}, target{};
  std::uint64_t bytes = 0;
  dvs::NodeId source_node{}, target_node{};
  void fields(auto&& field) {
    field(copy, orderer_node, orderer, source, target, bytes, source_node, target_node);
  }
};
// Whoever finishes or fails a copy tells the orderer's node; the orderer's node tells the others to
// stop.
struct CopyEnd {
  std::uint64_t copy = 0;
  dvs::NodeId orderer_node{};
  Errc error{};
  void fields(auto&& field) { field(copy, orderer_node, error); }
};

// --- Express: a connection between two processes
// ---------------------------------------------------

// "Whoever shows `token` at your listener is my endpoint `from`; hand the connection to `to`." A
// lost offer costs nothing but the chance.
struct ExpressOffer {
  Address from{}, to{};
  Bytes token{}, secret{};
  void fields(auto&& field) { field(from, to, token, secret); }
};
// The other node waits for the token.
struct ExpressReady {
  Address from{}, to{};
  Bytes token{};
  void fields(auto&& field) { field(from, to, token); }
};

using NodeMessage =
    std::variant<Open, Opened, Gone, Moved, Resumed, Register, Registered, Unregister, Lookup,
                 Locate, LookupResult, Report, Promote, MovePrepare, MoveMore, MoveReady,
                 MoveDecision, MoveQuery, CopyStart, CopyEnd, ExpressOffer, ExpressReady,
                 MoveSettled, ReportQuery>;

// A piece of a copy, lane bulk. Fixed head, then the bytes.
struct CopyDataHead {
  std::uint64_t copy = 0;
  std::uint64_t position = 0;  // within the copy
  std::uint32_t bytes = 0;
  std::uint16_t orderer_node = 0;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(CopyDataHead) == 24);

struct CopyPiece {
  CopyDataHead head;
  BytesView bytes;  // points into what was decoded
};
// The pieces that follow NodeMessageForm::copy_data, at least one. Errors: protocol_violation.
inline dvs::Result<std::vector<CopyPiece>> decode_copy_data(BytesView body) {
  std::vector<CopyPiece> pieces;
  do {
    CopyPiece piece;
    if (body.size() < sizeof piece.head) {
      return dvs::fail(dvs::Errc::protocol_violation, "short head of a copy's piece");
    }
    std::memcpy(&piece.head, body.data(), sizeof piece.head);
    body = body.subspan(sizeof piece.head);
    if (body.size() < piece.head.bytes) {
      return dvs::fail(dvs::Errc::protocol_violation, "short piece of a copy");
    }
    piece.bytes = body.first(piece.head.bytes);
    body = body.subspan(piece.head.bytes);
    pieces.push_back(piece);
  } while (!body.empty());
  return pieces;
}

inline Bytes encode_node_message(const NodeMessage& message) {
  const Bytes body = encode_variant(message);
  Bytes bytes(1 + body.size(), static_cast<std::byte>(NodeMessageForm::control));
  std::memcpy(bytes.data() + 1, body.data(), body.size());
  return bytes;
}

}  // namespace dvk::wire
