// One lane of the link between two nodes, without its I/O: numbers, acknowledges, replays, watches.
//
// A *session* is what two boots of the two daemons have in common: its frames arrive in order and
// exactly once however often the connection under it breaks. Both hellos of a connection decide, by
// the same rule on both sides, whether the session goes on or a new one begins; what was retained
// for an old session is then dropped and reported. A carrier that keeps order (TCP) is all it
// needs, one that loses, repeats, delays and reorders is enough; but frames of one connection must
// never turn up in another.
//
// Invariants: a payload handed out by next_frame stays where it is until it is passed to
// on_released; nothing is delivered before the hello of the same connection.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/core/stream.hpp"
#include "dvk/wire/frame.hpp"

namespace dvk::core {

enum class LinkState : std::uint8_t {
  connecting,    // there was no working connection yet; what is sent waits
  up,            // connected, and the peer is heard
  suspect,       // connected, but the peer has been silent for suspect_after
  reconnecting,  // the connection broke; what is sent waits, the session will go on
  down,          // no working connection for give_up_after; nothing is retained, sends are refused
};
const char* name_of(LinkState state) noexcept;

enum class SessionCause : std::uint8_t {
  first,           // the first session of this daemon with that peer
  peer_restarted,  // the peer's daemon has another boot now
  given_up,        // either side had declared the link down
};

struct LinkEvent {
  enum class Kind : std::uint8_t {
    state_changed,   // `state` is the new one
    new_session,     // `cause`; what was sent before and not yet acknowledged is lost
    room_available,  // has_room is true again after it was false
  };
  Kind kind{};
  LinkState state{};
  SessionCause cause{};
  // new_session, and state_changed to down: so many messages were dropped. The peer may have had
  // some.
  std::uint64_t lost_frames = 0;
};

// The layer above. Called synchronously; may call `send`, must not destroy the core.
class LinkUpper {
 public:
  // The next message of the session. The view is valid during the call.
  virtual void on_message(dvs::BytesView payload) = 0;
  virtual void on_event(const LinkEvent& event) = 0;
  // A payload is not needed any more: acknowledged or dropped. A writer that may still be in the
  // middle of it keeps it until it is not. Must not call the core.
  virtual void on_released(dvs::Bytes payload) { static_cast<void>(payload); }

 protected:
  ~LinkUpper() = default;
};

struct LinkTimings {
  dvs::Duration heartbeat_interval = std::chrono::milliseconds(100);  // of silence before a ping
  dvs::Duration suspect_after = std::chrono::milliseconds(500);
  // Of silence: first the connection is given up, then the session.
  dvs::Duration reconnect_after = std::chrono::seconds(2);
  dvs::Duration give_up_after = std::chrono::seconds(10);
  dvs::Duration acknowledge_delay = std::chrono::milliseconds(5);
  dvs::Duration replay_request_interval = std::chrono::milliseconds(20);  // at least
  // Repetition when nothing is acknowledged; doubles up to the maximum. Duration::max(): never, for
  // a carrier that loses nothing.
  dvs::Duration retransmit_after = std::chrono::milliseconds(200);
  dvs::Duration retransmit_after_max = std::chrono::seconds(2);
};

struct LinkCoreConfig {
  wire::ClusterId cluster{};
  dvs::NodeId self{};
  dvs::NodeId peer{};
  std::uint8_t lane = 0;
  std::uint64_t boot = 0;        // unique per start of this daemon; never 0
  std::uint64_t nonce_seed = 0;  // random; differs between boots and lanes
  // Payload bytes plus frame_cost_bytes each that may wait for acknowledgement; more than one
  // frame.
  std::size_t retained_bytes_max = 8 * 1024 * 1024;
  LinkTimings timings{};
};

// What a retained message costs beyond its payload.
constexpr std::size_t frame_cost_bytes = 64;

struct LinkStatistics {
  std::uint64_t frames_sent = 0;      // data frames handed to the carrier, replays included
  std::uint64_t bytes_sent = 0;       // their payloads
  std::uint64_t frames_received = 0;  // data frames delivered
  std::uint64_t bytes_received = 0;
  std::uint64_t replays = 0;      // data frames handed to the carrier again
  std::uint64_t duplicates = 0;   // data frames dropped because they were had before
  std::uint64_t gaps = 0;         // data frames dropped because one before was missing
  std::uint64_t connections = 0;  // that got as far as both hellos
  std::uint64_t sessions = 0;
  std::uint64_t lost_frames = 0;  // dropped with a session, as reported in events

  std::uint64_t reconnects() const { return connections == 0 ? 0 : connections - 1; }
};

class LinkCore {
 public:
  // `upper` must outlive the core. `now`: give_up_after counts from it.
  LinkCore(const LinkCoreConfig& config, LinkUpper& upper, dvs::TimePoint now);
  LinkCore(const LinkCore&) = delete;
  LinkCore& operator=(const LinkCore&) = delete;

  // --- The layer above ---
  // Queues a message. `flags`: frame_flag::compressed or 0, the receiver's carrier undoes it.
  // Errors: message_too_large (over max_frame_payload), queue_full (room_available follows),
  // unreachable (the link is down). The payload is consumed in every case.
  dvs::Result<void> send(dvs::Bytes payload, std::uint8_t flags = 0);
  // Whether a message of any allowed size would be taken. When false, room_available follows.
  bool has_room() const { return retained_bytes_ + largest_cost <= config_.retained_bytes_max; }
  LinkState state() const { return state_; }
  std::uint64_t session() const { return session_; }      // 0: none
  std::uint64_t peer_boot() const { return peer_boot_; }  // 0: never heard
  std::size_t retained_frames() const { return send_.size(); }
  const LinkStatistics& statistics() const { return statistics_; }

  // --- The carrier ---
  // A connection to the peer is there; one before it is forgotten.
  void on_connected(dvs::TimePoint now);
  // It is gone. Harmless when there is none.
  void on_disconnected();
  // Bytes came in, though perhaps not a whole frame yet: the peer lives.
  void on_activity(dvs::TimePoint now);
  // A frame that decode_header found good, its payload not compressed. Error: close the connection
  // (the core has already forgotten it). protocol_violation, wrong_cluster.
  dvs::Result<void> on_frame(dvs::TimePoint now, const wire::FrameHeader& header,
                             dvs::BytesView payload);
  // To be called at next_deadline or soon after. Error: close the connection.
  dvs::Result<void> on_tick(dvs::TimePoint now);
  dvs::TimePoint next_deadline() const;
  // The next frame to write, or none. The payload is valid until released.
  std::optional<wire::Frame> next_frame(dvs::TimePoint now);

 private:
  // A message that is not acknowledged.
  struct Outgoing {
    dvs::Bytes payload;
    std::uint8_t flags = 0;
  };
  static constexpr std::size_t largest_cost = wire::max_frame_payload + frame_cost_bytes;

  dvs::Result<void> take_frame(dvs::TimePoint now, const wire::FrameHeader& header,
                               dvs::BytesView payload);
  dvs::Result<void> take_hello(dvs::TimePoint now, const wire::FrameHeader& header,
                               dvs::BytesView payload);
  dvs::Result<void> check_hello(const wire::LinkHello& hello) const;
  dvs::Result<void> resume(dvs::TimePoint now, const wire::LinkHello& hello);
  void begin_session(const wire::LinkHello& hello);
  void take_data(dvs::TimePoint now, const wire::FrameHeader& header, dvs::BytesView payload);
  dvs::Result<void> take_acknowledgement(dvs::TimePoint now, std::uint64_t number);
  void owe_acknowledgement(dvs::TimePoint now, std::size_t bytes);
  void owe_replay_request(dvs::TimePoint now);

  dvs::Result<void> watch(dvs::TimePoint now);
  void heard(dvs::TimePoint now);
  void set_state(LinkState state, std::uint64_t lost_frames = 0);
  void give_up();
  std::uint64_t drop_retained();
  void release(Outgoing& outgoing);
  void announce_room();
  void rewind();

  wire::Frame hello_frame(dvs::TimePoint now);
  wire::Frame data_frame(dvs::TimePoint now);
  wire::FrameHeader acknowledging_header(wire::FrameType type);

  LinkCoreConfig config_;
  LinkUpper& upper_;
  LinkState state_ = LinkState::connecting;
  LinkStatistics statistics_;

  // Session. Retained messages without a session are those of the one to come.
  std::uint64_t session_ = 0;
  std::uint64_t peer_boot_ = 0;
  SendWindow<Outgoing> send_;
  ReceiveWindow receive_;
  std::uint64_t handed_ = 0;  // highest number ever given to the carrier in this session
  std::size_t retained_bytes_ = 0;
  bool was_full_ = false;

  // Connection. is_established_: both hellos have been had (is_connected_ is true too).
  bool is_connected_ = false;
  bool is_established_ = false;
  std::uint64_t nonces_ = 0;  // drawn so far
  wire::LinkHello hello_;     // ours, fixed for the connection
  std::array<std::byte, sizeof(wire::LinkHello)> hello_bytes_{};
  std::uint64_t peer_nonce_ = 0;
  bool is_hello_due_ = false;
  bool is_ack_due_ = false;
  bool is_ping_due_ = false;
  bool is_replay_request_due_ = false;
  std::size_t unacknowledged_bytes_ = 0;
  unsigned unacknowledged_frames_ = 0;

  // Clocks; `never` when not running.
  dvs::TimePoint last_heard_;
  dvs::TimePoint last_sent_;
  dvs::TimePoint connected_at_ = dvs::never;
  dvs::TimePoint acknowledge_at_ = dvs::never;
  dvs::TimePoint repeat_hello_at_ = dvs::never;
  dvs::TimePoint retransmit_at_ = dvs::never;
  dvs::TimePoint next_request_at_ = dvs::TimePoint::min();  // not before
  dvs::Duration retransmit_after_;
};

}  // namespace dvk::core
