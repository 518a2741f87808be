// What the core can do to the world, done by the daemon.
//
// Nothing here calls back into the core: what must (an end noticed while sending) is noted and told
// by the daemon when the core has returned.
#pragma once

#include <functional>
#include <set>

#include "dvk/daemon/attach_server.hpp"
#include "dvk/daemon/node_links.hpp"
#include "dvk/daemon/serial_store.hpp"
#include "dvk/node/output.hpp"

namespace dvk::daemon {

class NodeOutput final : public node::Output {
 public:
  NodeOutput(NodeId self, SerialStore& serials) : self_(self), serials_(serials) {}
  // Before the core is used. `links` may be null: a node without any.
  void connect(AttachServer* attach, NodeLinks* links) {
    attach_ = attach;
    links_ = links;
  }

  // Nodes to which something was to be sent though there is no way, since the last call: for the
  // core they are down.
  std::set<NodeId> take_unreachable() { return std::exchange(unreachable_, {}); }
  std::uint64_t dropped_packets() const { return dropped_packets_; }

  void to_process(Handle handle, const wire::ToProcess& message, dvs::BytesView state) override;
  bool to_ring(Handle handle, const wire::PacketHeader& header, dvs::BytesView payload) override;
  void open_ring(Handle first, Handle second, bool is_trusted) override;
  void to_node(NodeId node, const wire::NodeMessage& message) override;
  bool packet_to_node(NodeId node, const wire::PacketHeader& header,
                      dvs::BytesView payload) override;
  bool has_bulk_room(NodeId node) override;
  void copy_start_to_node(NodeId node, const wire::CopyStart& start) override;
  void send_pieces(NodeId node, std::span<node::PieceToSend> pieces) override;
  void write_pieces(std::span<node::PieceToWrite> pieces) override;
  Result<void> read_memory(const node::MemoryPlace& place, std::span<std::byte> into) override;
  dvs::Bytes fresh_token() override;
  bool is_encrypting() override { return links_ == nullptr || links_->is_encrypting(); }
  void dial_express(NodeId node, const dvs::Bytes& token, Handle handle,
                    const wire::Route& route) override;
  void expect_express(const dvs::Bytes& token, Handle handle, const wire::Route& route) override;
  std::uint64_t fresh_serial() override;
  bool was_given(std::uint64_t serial) override { return serials_.was_given(serial); }

 private:
  struct RingEnds;
  NodeLinks::ThenSocket hand_to(Handle handle, const wire::Route& route);
  void send_control(NodeId node, link::Lane lane, const wire::NodeMessage& message);

  NodeId self_;
  SerialStore& serials_;
  AttachServer* attach_ = nullptr;
  NodeLinks* links_ = nullptr;
  std::set<NodeId> unreachable_;
  std::uint64_t dropped_packets_ = 0;
};

}  // namespace dvk::daemon
