// What lies between two nodes on one lane: connections that come, carry frames more or less well,
// and break; and the cable under them, which can be cut.
//
// A connection has a number. The two ends learn of its beginning and its end at times of their own,
// if at all. Frames of one connection never turn up in another, which is all that a link asks of
// its carrier.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "dvk/wire/frame.hpp"
#include "sim/context.hpp"

namespace sim {

using dvs::NodeId;

// One daemon's end of a lane.
class WireEnd {
 public:
  virtual void on_connected() = 0;
  virtual void on_disconnected() = 0;
  virtual void on_frame(const dvk::wire::FrameHeader& header, dvs::BytesView payload) = 0;
  // The connection has room again.
  virtual void on_writable() = 0;
  // When the daemon can next take something: now, or later when it is paused.
  virtual Instant ready_at() const = 0;

 protected:
  ~WireEnd() = default;
};

class Wire {
 public:
  Wire(Context& context, NodeId low, NodeId high, std::uint8_t lane,
       const LaneCharacter& character);

  // A daemon has started on that node, and will be connected. It must outlive the world's run.
  void bind(NodeId node, WireEnd& end);
  // It is gone. The other side may or may not hear of it.
  void unbind(NodeId node);

  bool has_room(NodeId sender) const;
  void send(NodeId sender, const dvk::wire::Frame& frame);
  // The daemon gave its connection up (it has forgotten it already).
  void close(NodeId node);

  // Faults.
  void break_off();
  void cut(Duration how_long);
  void heal();
  bool is_connected() const {
    return ends_[0].attached != 0 && ends_[0].attached == ends_[1].attached;
  }
  NodeId low() const { return ends_[0].node; }
  NodeId high() const { return ends_[1].node; }
  std::uint8_t lane() const { return lane_; }

 private:
  struct Travelling {
    std::uint64_t connection = 0;
    dvk::wire::FrameHeader header;
    dvs::Bytes payload;
  };
  struct End {
    NodeId node{};
    WireEnd* daemon = nullptr;
    std::uint64_t attached = 0;  // number of the connection it uses; 0: none
    std::multimap<Instant, Travelling> inbox;
    Instant last_arrival{};
    std::size_t in_flight = 0;  // frames on their way here, of the connection in use
    std::unique_ptr<Alarm> alarm{};
  };

  End& end_of(NodeId node) { return ends_[node == ends_[0].node ? 0 : 1]; }
  End& other(const End& end) { return ends_[&end == &ends_[0] ? 1 : 0]; }
  void dial();
  void attach(End& end, std::uint64_t connection);
  void detach(End& end, bool tells_daemon);
  void notice_loss(End& end, std::uint64_t connection);
  void deliver(End& end);
  void post(End& to, Travelling frame);
  bool is_cut() const { return context_.now() < cut_until_; }

  Context& context_;
  std::uint8_t lane_;
  LaneCharacter character_;
  std::array<End, 2> ends_;
  std::uint64_t connection_ = 0;
  Instant cut_until_{};
  Alarm dial_alarm_;
};

}  // namespace sim
