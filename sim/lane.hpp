// One lane of one daemon's link: drives a LinkCore over a wire, as the link driver of dvsd does.
#pragma once

#include <deque>

#include "dvk/core/link_core.hpp"
#include "sim/context.hpp"
#include "sim/node_clock.hpp"
#include "sim/wire.hpp"

namespace sim {

class LaneOwner {
 public:
  virtual void on_lane_message(NodeId peer, std::uint8_t lane, dvs::BytesView payload) = 0;
  virtual void on_lane_event(NodeId peer, std::uint8_t lane, const dvk::core::LinkEvent& event) = 0;
  // The end of what one event brought: time to let everything go out.
  virtual void settle() = 0;
  virtual Instant daemon_ready_at() const = 0;

 protected:
  ~LaneOwner() = default;
};

constexpr std::uint8_t message_lane = 0, bulk_lane = 1;

class Lane final : WireEnd, dvk::core::LinkUpper {
 public:
  Lane(Context& context, Wire& wire, LaneOwner& owner, const NodeClock& clock,
       const dvk::core::LinkCoreConfig& config);

  // Control messages are never dropped while the link is there: without room they wait, in order.
  // False: the link is down.
  bool send_control(dvs::Bytes message);
  // What waits for room is forgotten.
  void drop_waiting() { waiting_.clear(); }
  bool is_down() const { return core_.state() == dvk::core::LinkState::down; }
  // False: no room, or the link is down.
  bool send(dvs::Bytes message);
  bool has_room() const { return waiting_.empty() && core_.has_room(); }
  std::uint64_t peer_boot() const { return core_.peer_boot(); }
  bool is_settled() const {
    return core_.state() == dvk::core::LinkState::up && core_.retained_frames() == 0 &&
           waiting_.empty();
  }

  // Gives the connection up, as if it had broken.
  void reset_connection();
  // Writes what may go and sets the clock; called by the owner's settle.
  void pump();
  // The daemon is gone: the core must not be used again.
  void stop();

 private:
  // WireEnd
  void on_connected() override;
  void on_disconnected() override;
  void on_frame(const dvk::wire::FrameHeader& header, dvs::BytesView payload) override;
  void on_writable() override;
  Instant ready_at() const override { return owner_.daemon_ready_at(); }
  // LinkUpper
  void on_message(dvs::BytesView payload) override;
  void on_event(const dvk::core::LinkEvent& event) override;

  void tick();
  void send_waiting();
  dvs::TimePoint now() const { return clock_.local(context_.now()); }

  Context& context_;
  Wire& wire_;
  LaneOwner& owner_;
  NodeClock clock_;
  NodeId self_, peer_;
  std::uint8_t lane_;
  dvk::core::LinkCore core_;
  std::deque<dvs::Bytes> waiting_;
  Alarm alarm_;
  bool is_stopped_ = false;
};

}  // namespace sim
