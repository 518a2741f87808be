// What a process and its node's daemon say to each other over the attach socket (one SOCK_SEQPACKET
// connection per endpoint). Packets themselves do not pass here, they go through the rings.
//
// The daemon believes nothing: the container is that of the socket, the user that of the kernel's
// credentials. Descriptors travel beside a message where its comment says so.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dvk/wire/codec.hpp"
#include "dvk/wire/packet.hpp"

namespace dvk::wire {

constexpr std::uint32_t attach_version = 1;

// --- Process to daemon ---------------------------------------------------------------------------

enum class HelloKind : std::uint8_t {
  open = 0,    // a new endpoint, with a name or without
  backup = 1,  // a backup for `name`
  adopt =
      2,  // take over an endpoint that is being moved here: by name, or by address if it has none
};
// Descriptors: 0 the process's doorbell page (ring/doorbell.hpp), 1 its grant table
// (grant/grant_table.hpp).
struct Hello {
  std::uint32_t version = attach_version;
  HelloKind kind{};
  std::string name{};
  Address address{};  // adopt without a name
  void fields(auto&& field) { field(version, kind, name, address); }
};
// How do I reach `peer`? Answered by Route, now and whenever the answer changes.
struct RouteQuery {
  Address peer{};
  void fields(auto&& field) { field(peer); }
};
struct NameQuery {
  std::uint64_t request = 0;
  std::string name{};
  void fields(auto&& field) { field(request, name); }
};
struct NodesQuery {
  std::uint64_t request = 0;
  void fields(auto&& field) { field(request); }
};
// Move me. Descriptor 0: the frozen state, in sealed shared memory of state_bytes rounded up to
// pages.
struct MoveOut {
  dvs::NodeId target{};
  std::uint64_t state_bytes = 0;
  void fields(auto&& field) { field(target, state_bytes); }
};
struct MoveCancel {
  void fields(auto&&) {}
};
// Adopting process: state taken over, ready for the decision.
struct AdoptReady {
  void fields(auto&&) {}
};
// Answered by Barrier once no copy that began under an older grant table is still touching memory.
struct BarrierQuery {
  std::uint64_t request = 0;
  void fields(auto&& field) { field(request); }
};
// The relayed conversation with `peer` is busy: a connection of its own would pay. Answered by a
// Route of kind express, or not at all.
struct ExpressQuery {
  Address peer{};
  void fields(auto&& field) { field(peer); }
};
using ToDaemon = std::variant<Hello, RouteQuery, NameQuery, NodesQuery, MoveOut, MoveCancel,
                              AdoptReady, BarrierQuery, ExpressQuery>;

// --- Daemon to process ---------------------------------------------------------------------------

// Descriptors: 0 ring to the daemon, 1 ring from the daemon, 2 the daemon's doorbell page, 3 the
// waker's end of the bell that wakes the daemon, 4 the sleeper's end of the bell by which the
// daemon wakes this process; after `adopt` also 5, the moved state in sealed shared memory of
// state_bytes rounded up to pages.
struct Welcome {
  Address address{};
  dvs::NodeId node{};
  std::uint64_t state_bytes = 0;  // adopt: size of the state
  void fields(auto&& field) { field(address, node, state_bytes); }
};
struct Refused {
  Errc error{};
  std::string detail{};
  void fields(auto&& field) { field(error, detail); }
};

enum class RouteKind : std::uint8_t {
  // Descriptors: 0 ring to the peer, 1 ring from the peer, 2 the peer's doorbell page, 3 the
  // waker's end of the bell that wakes the peer, 4 the sleeper's end of the bell by which the peer
  // wakes this process; if is_trusted also 5 the peer's grant table, 6 a pidfd of its process.
  ring = 0,
  relay = 1,  // through the daemon
  wait = 2,   // the peer is being moved, or its place is being found: the answer comes later
  gone = 3,   // `error` says why: peer_died, unknown_endpoint, not_permitted, unreachable
  // Beside the relay, which stays: descriptor 0 is a connected socket to the peer's process;
  // `secret` keys its encryption (empty: none).
  express = 4,
};
struct Route {
  Address peer{};
  RouteKind kind{};
  Errc error{};
  dvs::NodeId node{};
  bool is_trusted = false;  // ring: same user in the same container, memory may be copied directly
  bool is_reset = false;    // relay: what was under way may be lost: send it again
  bool is_initiator = false;  // express: this side began
  Bytes secret{};
  void fields(auto&& field) {
    field(peer, kind, error, node, is_trusted, is_reset, is_initiator, secret);
  }
};
struct NameResult {
  std::uint64_t request = 0;
  Errc error{};
  Address address{};
  void fields(auto&& field) { field(request, error, address); }
};
struct NodesResult {
  std::uint64_t request = 0;
  std::vector<dvs::NodeId> nodes{};
  void fields(auto&& field) { field(request, nodes); }
};
// The end of a move, for both processes. error 0: committed.
struct MoveResult {
  Errc error{};
  std::string detail{};
  void fields(auto&& field) { field(error, detail); }
};
// The backup has become the primary: a new life under this address.
struct Promoted {
  Address address{};
  void fields(auto&& field) { field(address); }
};
struct Barrier {
  std::uint64_t request = 0;
  void fields(auto&& field) { field(request); }
};
using ToProcess =
    std::variant<Welcome, Refused, Route, NameResult, NodesResult, MoveResult, Promoted, Barrier>;

// --- Copies, through the rings (PacketKind::copy_request, copy_result; header.token is the number)
// ----

struct CopyOrder {
  Address source{}, target{};  // which endpoints; the orderer's own address: its own memory
  std::uint64_t source_grant = 0, source_offset = 0;
  std::uint64_t target_grant = 0, target_offset = 0;
  std::uint64_t bytes = 0;
  void fields(auto&& field) {
    field(source, target, source_grant, source_offset, target_grant, target_offset, bytes);
  }
};
struct CopyOutcome {
  Errc error{};
  void fields(auto&& field) { field(error); }
};

}  // namespace dvk::wire
