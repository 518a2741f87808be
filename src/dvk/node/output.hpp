// What the pure core of a daemon can do to the world. Implemented by dvsd and by the simulator.
//
// None of these may call back into the core before it has returned.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include <dvs/ids.hpp>

#include "base/bytes.hpp"
#include "dvk/wire/attach_message.hpp"
#include "dvk/wire/node_message.hpp"
#include "dvk/wire/packet.hpp"

namespace dvk::node {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::ContainerId;
using dvs::Duration;
using dvs::EndpointId;
using dvs::Errc;
using dvs::Incarnation;
using dvs::NodeId;
using dvs::Result;
using dvs::TimePoint;
using wire::PacketHeader;

// One attached process connection (one endpoint). Given by the outside, never reused.
enum class Handle : std::uint64_t {};

// A part of `owner`'s memory, from side.offset + position on, as far as the grant allows `orderer`.
struct MemoryPlace {
  Handle owner{};
  Address orderer{};
  wire::CopySide side{};
  std::uint64_t position = 0;
};
// To be read and sent. Its result: grant_denied, grant_revoked, bad_address, peer_died,
// unreachable.
struct PieceToSend {
  wire::CopyDataHead head{};
  MemoryPlace from{};
  Result<void> result{};
};
// To be written. Its result: grant_denied, grant_revoked, bad_address, peer_died.
struct PieceToWrite {
  MemoryPlace to{};
  BytesView bytes{};
  Result<void> result{};
};

class Output {
 public:
  // --- Towards processes ---
  // `state` only with Welcome of an adopted endpoint: its moved state.
  virtual void to_process(Handle handle, const wire::ToProcess& message, BytesView state = {}) = 0;
  // Puts a packet into the process's ring. False: no room; the packet is dropped, its sender
  // repeats it. A copy_result is never dropped: it waits for room (copies_max of them at most).
  virtual bool to_ring(Handle handle, const PacketHeader& header, BytesView payload) = 0;
  // Joins two local endpoints by a pair of rings and tells both (RouteKind::ring).
  virtual void open_ring(Handle first, Handle second, bool is_trusted) = 0;

  // --- Towards nodes; both in order on the message lane ---
  virtual void to_node(NodeId node, const wire::NodeMessage& message) = 0;
  // False: no room; the packet is dropped, its sender repeats it.
  virtual bool packet_to_node(NodeId node, const PacketHeader& header, BytesView payload) = 0;

  // --- Copies: bulk lane and memory ---
  virtual bool has_bulk_room(NodeId node) = 0;
  virtual void copy_start_to_node(NodeId node, const wire::CopyStart& start) = 0;  // bulk lane
  // Reads the pieces and sends those that could be read in one message on the bulk lane, without
  // another copy in between. Sets each one's result.
  virtual void send_pieces(NodeId node, std::span<PieceToSend> pieces) = 0;
  // Sets each one's result.
  virtual void write_pieces(std::span<PieceToWrite> pieces) = 0;
  // Errors: grant_denied, grant_revoked, bad_address, peer_died.
  virtual Result<void> read_memory(const MemoryPlace& place, std::span<std::byte> into) = 0;

  // --- Express: connections between processes. A host without them may leave these as they are.
  // --- 32 random bytes, fit to be a token or a secret; empty if this host makes no express
  // connections.
  virtual Bytes fresh_token() { return {}; }
  // Whether connections between nodes of this cluster are encrypted.
  virtual bool is_encrypting() { return true; }
  // Connects to the node's listener, shows the token, and sends the route with the socket to the
  // process.
  virtual void dial_express(NodeId node, const Bytes& token, Handle handle,
                            const wire::Route& route) {
    static_cast<void>(node), static_cast<void>(token), static_cast<void>(handle);
    static_cast<void>(route);
  }
  // When somebody shows the token within the next seconds: sends the route with the socket to the
  // process.
  virtual void expect_express(const Bytes& token, Handle handle, const wire::Route& route) {
    static_cast<void>(token), static_cast<void>(handle), static_cast<void>(route);
  }

  // --- Identity ---
  // A number never given before on this node, not even by an earlier daemon. Fits serial_bits.
  virtual std::uint64_t fresh_serial() = 0;
  // Whether this node has ever given this number.
  virtual bool was_given(std::uint64_t serial) = 0;

 protected:
  ~Output() = default;
};

}  // namespace dvk::node
