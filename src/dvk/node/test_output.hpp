// A node for tests: a NodeCore with an Output that keeps everything it is told, until a test looks
// at it or carries it to another node.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "dvk/node/node_core.hpp"

namespace dvk::node {

class TestNode final : public Output {
 public:
  enum class Lane { message, bulk };
  struct RingPacket {
    PacketHeader header;
    Bytes payload;
  };
  struct Introduction {
    Handle first, second;
    bool is_trusted;
  };

  struct Connection {
    NodeId node;  // dialled only
    Bytes token;
    Handle handle;
    wire::Route route;
  };

  explicit TestNode(unsigned number, Policy policy = {})
      : id(static_cast<NodeId>(number)),
        core(std::make_unique<NodeCore>(id, *this, std::move(policy))) {}

  // The daemon ends and another begins: all endpoints are gone, the serial numbers go on.
  void restart(Policy policy = {}) {
    lanes.clear();
    core = std::make_unique<NodeCore>(id, *this, std::move(policy));
  }

  // --- Output ---
  void to_process(Handle handle, const wire::ToProcess& message, BytesView state) override {
    told[handle].push_back(message);
    if (std::holds_alternative<wire::Welcome>(message)) states[handle] = dvs::to_bytes(state);
  }
  bool to_ring(Handle handle, const PacketHeader& header, BytesView payload) override {
    ring[handle].push_back({header, dvs::to_bytes(payload)});
    return true;
  }
  void open_ring(Handle first, Handle second, bool is_trusted) override {
    introductions.push_back({first, second, is_trusted});
  }
  void to_node(NodeId node, const wire::NodeMessage& message) override {
    put(node, Lane::message, wire::encode_node_message(message));
  }
  bool packet_to_node(NodeId node, const PacketHeader& header, BytesView payload) override {
    Bytes bytes = wire::encode_packet(header, payload);
    bytes.insert(bytes.begin(), static_cast<std::byte>(wire::NodeMessageForm::packet));
    put(node, Lane::message, std::move(bytes));
    return true;
  }
  bool has_bulk_room(NodeId node) override { return !full.contains(node); }
  void copy_start_to_node(NodeId node, const wire::CopyStart& start) override {
    put(node, Lane::bulk, wire::encode_node_message(start));
  }
  void send_pieces(NodeId node, std::span<PieceToSend> pieces) override {
    Bytes bytes(1, static_cast<std::byte>(wire::NodeMessageForm::copy_data));
    for (PieceToSend& piece : pieces) {
      Bytes data(piece.head.bytes);
      piece.result = read_memory(piece.from, data);
      if (!piece.result) continue;
      const BytesView head(reinterpret_cast<const std::byte*>(&piece.head), sizeof piece.head);
      bytes.insert(bytes.end(), head.begin(), head.end());
      bytes.insert(bytes.end(), data.begin(), data.end());
    }
    if (bytes.size() > 1) put(node, Lane::bulk, std::move(bytes));
  }
  Result<void> read_memory(const MemoryPlace& place, std::span<std::byte> into) override {
    DVS_TRY(const std::span<std::byte> range, range_of(place, into.size()));
    std::ranges::copy(range, into.begin());
    return {};
  }
  void write_pieces(std::span<PieceToWrite> pieces) override {
    for (PieceToWrite& piece : pieces) {
      const auto range = range_of(piece.to, piece.bytes.size());
      if (range) std::ranges::copy(piece.bytes, range->begin());
      piece.result = range ? Result<void>() : std::unexpected(range.error());
    }
  }
  Bytes fresh_token() override {
    return has_express ? Bytes(32, static_cast<std::byte>(++tokens)) : Bytes();
  }
  void dial_express(NodeId node, const Bytes& token, Handle handle,
                    const wire::Route& route) override {
    dialled.push_back({node, token, handle, route});
  }
  void expect_express(const Bytes& token, Handle handle, const wire::Route& route) override {
    expected.push_back({dvs::no_node, token, handle, route});
  }
  std::uint64_t fresh_serial() override { return ++serials; }
  bool was_given(std::uint64_t serial) override { return serial != 0 && serial <= serials; }

  // --- For the test ---
  // Forgotten are messages to a node whose link is down; the cores hear of it as in the daemon.
  void put(NodeId node, Lane lane, Bytes bytes) {
    if (down.contains(node)) {
      unreachable.insert(node);
    } else {
      lanes[{node, lane}].push_back(std::move(bytes));
    }
  }
  // The undelivered messages of one kind on the way to a node.
  template <class Message>
  std::vector<Message> under_way(NodeId node, Lane lane = Lane::message) {
    std::vector<Message> found;
    for (const Bytes& bytes : lanes[{node, lane}]) {
      if (bytes[0] != static_cast<std::byte>(wire::NodeMessageForm::control)) continue;
      const auto message = wire::decode_variant<wire::NodeMessage>(BytesView(bytes).subspan(1));
      if (const auto* body = std::get_if<Message>(&*message)) found.push_back(*body);
    }
    return found;
  }

  NodeId id;
  std::map<Handle, std::deque<wire::ToProcess>> told;
  std::map<Handle, Bytes> states;  // as came with Welcome
  std::map<Handle, std::deque<RingPacket>> ring;
  std::vector<Introduction> introductions;
  std::map<std::pair<NodeId, Lane>, std::deque<Bytes>> lanes;
  std::set<NodeId> down, unreachable;
  std::set<NodeId> full;  // bulk lanes without room
  std::map<Handle, Bytes> memory;
  std::map<Handle, Errc> memory_errors;  // what touching that memory gives
  std::vector<Handle> touched;           // memory accesses, in order
  bool has_express = false;
  unsigned tokens = 0;
  std::vector<Connection> dialled, expected;
  std::uint64_t serials = 0;
  std::unique_ptr<NodeCore> core;

 private:
  Result<std::span<std::byte>> range_of(const MemoryPlace& place, std::size_t size) {
    touched.push_back(place.owner);
    if (const auto error = memory_errors.find(place.owner); error != memory_errors.end()) {
      return dvs::fail(error->second);
    }
    Bytes& bytes = memory[place.owner];
    const std::uint64_t begin = place.side.offset + place.position;
    if (begin > bytes.size() || size > bytes.size() - begin) return dvs::fail(Errc::bad_address);
    return std::span(bytes).subspan(begin, size);
  }
};

}  // namespace dvk::node
