// One boot of a node's daemon: a NodeCore, a link to each other node, and the processes attached to
// it. And the machine it runs on, which outlives it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "dvk/core/peer_life.hpp"
#include "dvk/node/node_core.hpp"
#include "sim/attachment.hpp"
#include "sim/context.hpp"
#include "sim/lane.hpp"

namespace sim {

class Daemon;

// What survives a reboot. `serials`: numbers given so far, kept on its disk.
struct Machine {
  NodeId id{};
  NodeClock clock;
  std::uint64_t serials = 0;
  std::uint64_t boots = 0, handles = 0;
  Daemon* daemon = nullptr;  // none: it is dead
  Instant paused_until{};

  Instant ready_at(Instant now) const { return std::max(now, paused_until); }
};

class Network {
 public:
  virtual Wire& wire(NodeId a, NodeId b, std::uint8_t lane) = 0;
  virtual const std::vector<NodeId>& nodes() const = 0;

 protected:
  ~Network() = default;
};

class Daemon final : public dvk::node::Output, public LaneOwner {
 public:
  Daemon(Context& context, Machine& machine, Network& network, std::uint64_t boot);

  // A process connects; it lives on `machine`.
  Attachment& attach(Process& process, dvs::ContainerId container, std::uint32_t uid);

  void install_view(const dvk::node::View& view);
  void on_node_lost(NodeId node);
  // The machine died: nothing is heard of this daemon any more.
  void kill();
  // After a pause: what had to wait goes on.
  void resume() { settle(); }

  Machine& machine() { return machine_; }
  std::uint64_t boot() const { return boot_; }
  // Links are up with all these, and nothing waits on any lane.
  bool is_settled(const std::vector<NodeId>& others) const;
  dvs::TimePoint now() const { return machine_.clock.local(context_.now()); }

 private:
  struct Attached {
    std::unique_ptr<Attachment> attachment;
    Address address{};
    std::deque<RingRecord> results;  // of copies, which are never dropped
  };
  struct Link {
    std::unique_ptr<Lane> lanes[2];
    dvk::core::PeerLife life;
  };

  // Output
  void to_process(Handle handle, const dvk::wire::ToProcess& message,
                  dvs::BytesView state) override;
  bool to_ring(Handle handle, const dvk::wire::PacketHeader& header,
               dvs::BytesView payload) override;
  void open_ring(Handle first, Handle second, bool is_trusted) override;
  void to_node(NodeId node, const dvk::wire::NodeMessage& message) override;
  bool packet_to_node(NodeId node, const dvk::wire::PacketHeader& header,
                      dvs::BytesView payload) override;
  bool has_bulk_room(NodeId node) override;
  void copy_start_to_node(NodeId node, const dvk::wire::CopyStart& start) override;
  void send_pieces(NodeId node, std::span<dvk::node::PieceToSend> pieces) override;
  void write_pieces(std::span<dvk::node::PieceToWrite> pieces) override;
  dvs::Result<void> read_memory(const dvk::node::MemoryPlace& place,
                                std::span<std::byte> into) override;
  std::uint64_t fresh_serial() override { return ++machine_.serials; }
  bool was_given(std::uint64_t serial) override {
    return serial != 0 && serial <= machine_.serials;
  }

  // LaneOwner
  void on_lane_message(NodeId peer, std::uint8_t lane, dvs::BytesView payload) override;
  void on_lane_event(NodeId peer, std::uint8_t lane, const dvk::core::LinkEvent& event) override;
  void settle() override;
  Instant daemon_ready_at() const override {
    return is_dead_ ? end_of_time : machine_.ready_at(context_.now());
  }

  void remark(NodeId peer, dvs::BytesView payload);
  void on_socket(Attached& attached, ToDaemonItem&& item);
  void on_ring(Attached& attached, RingRecord&& record);
  void push_results(Attached& attached);
  void on_session(NodeId peer, std::uint8_t lane, const dvk::core::LinkEvent& event);
  dvs::Result<std::span<std::byte>> memory_of(const dvk::node::MemoryPlace& place,
                                              std::size_t bytes, bool is_write);
  Lane* lane_to(NodeId node, std::uint8_t lane);
  void send_control(NodeId node, std::uint8_t lane, const dvk::wire::NodeMessage& message);
  // After every call into the core: a node there is no way to is down as far as the core is
  // concerned.
  void report_unreachable();
  void tick();
  void work();

  Context& context_;
  Machine& machine_;
  std::uint64_t boot_;
  bool is_dead_ = false;
  std::map<Handle, Attached> attached_;
  std::map<NodeId, Link> links_;
  std::set<NodeId> unreachable_;  // a control message to it was refused
  dvk::node::NodeCore core_;
  Alarm tick_alarm_, work_alarm_;
};

}  // namespace sim
