// One endpoint's half of a conversation with one peer: what it sends (numbered, retained, credited)
// and what it takes (in order, once).
//
// Laws kept here: per pair FIFO among what `receive` takes, at most once, and exactly once while
// both lives go on and the conversation is not broken off. Replies, notifies and cancels need no
// credit; they overtake messages that still wait for some, so nobody waits for a reply behind a
// full queue.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "dvk/core/stream.hpp"
#include "dvk/wire/codec.hpp"
#include "dvk/wire/packet.hpp"

namespace dvk::core {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Duration;
using dvs::Errc;
using dvs::Result;
using dvs::TimePoint;
using wire::PacketHeader;
using wire::PacketKind;

struct Limits {
  // What a receiver holds for one sender, and what a sender queues for one receiver. Cost is
  // payload bytes plus packet_cost each.
  std::uint64_t window_cost = 192 * 1024;
  std::uint64_t send_queue_cost = 384 * 1024;
  std::uint64_t packet_cost = 64;
  // Acknowledgements wait this long for a packet to ride on, unless this many are owed.
  Duration acknowledge_delay = std::chrono::milliseconds(5);
  unsigned acknowledge_every = 16;
  // Repetition on lossy paths when nothing is acknowledged; doubles up to the maximum.
  Duration replay_after = std::chrono::milliseconds(500);
  Duration replay_after_max = std::chrono::seconds(8);
};

// What a receiver tells its sender: everything up to `number` of `epoch` was taken, and packets of
// a total cost of `credit` may have been sent in that epoch.
struct Acknowledgement {
  std::uint32_t epoch = 0;
  std::uint64_t number = 0;
  std::uint64_t credit = 0;
  friend bool operator==(const Acknowledgement&, const Acknowledgement&) = default;
};

// Takes packets off a conversation's hands. False: no room now, the packet stays where it is.
class Carrier {
 public:
  virtual bool transmit(const Address& peer, const PacketHeader& header, BytesView payload) = 0;
  // Only on lossless paths, which have a place for it: instead of an `ack` packet.
  virtual void publish(const Address& peer, const Acknowledgement& acknowledgement) = 0;
  // Asks for a way to `peer`; answered by EndpointCore::path_ready, path_waiting or peer_gone.
  virtual void want_route(const Address& peer) = 0;

 protected:
  ~Carrier() = default;
};

// How the packets travel. A lossless path (a ring) loses nothing but by being replaced.
enum class PathKind : std::uint8_t { none, lossless, lossy };

class Conversation {
 public:
  // A packet that has not been acknowledged.
  struct Outgoing {
    PacketKind kind{};
    std::uint64_t token = 0;
    Bytes payload;
    void fields(auto&& field) { field(kind, token, payload); }
  };

  Conversation(const Address& self, const Address& peer, const Limits& limits);

  const Address& peer() const { return peer_; }

  // --- Sending ---
  // Whether `submit` would take a message of this size now.
  bool has_room(std::size_t payload_bytes) const;
  // Queues a message, request, reply or cancel. queue_full: only for what uses credit.
  Result<void> submit(PacketKind kind, std::uint64_t token, Bytes payload);
  // Adds bits to the next notify.
  void notify(std::uint64_t bits);
  // Takes back a request that has not left yet. False: it has (or may have).
  bool withdraw_request(std::uint64_t token);
  // Whether anything was ever handed to a carrier or taken from the peer: then the peer may repeat
  // what it sent, and knows our numbers.
  bool has_begun() const { return handed_ != 0 || epoch_ != 1 || was_heard(); }
  // Everything sent so far has been taken by the peer.
  bool is_flushed() const { return window_.empty() && waiting_.empty() && pending_bits_ == 0; }

  // --- Path ---
  PathKind path() const { return path_; }
  // A new path, or the same one after a loss: what is unacknowledged will be sent again.
  void set_path(PathKind path);
  // Hands over what may go. False: the carrier has no room; call again when it has.
  bool flush(Carrier& carrier, TimePoint now);

  // --- Receiving ---
  // Reads the acknowledgement in the header and says whether the packet is the next one and must be
  // taken. The payload's cost is held until `release`.
  bool receive(const PacketHeader& header, TimePoint now);
  void on_acknowledgement(const Acknowledgement& acknowledgement, TimePoint now);
  // The application took a packet of this cost, received in `epoch`.
  void release(std::uint32_t epoch, std::uint64_t cost, TimePoint now);
  // An acknowledgement that is owed is not to wait for a packet to ride on.
  void acknowledge_now(TimePoint now) {
    if (acknowledge_at_ != dvs::never) acknowledge_by(now);
  }
  std::uint32_t peer_epoch() const { return peer_epoch_; }
  std::uint64_t cost_of(std::size_t payload_bytes) const {
    return payload_bytes + limits_.packet_cost;
  }

  // --- Ends and clocks ---
  // The path was given up: forgets what was not acknowledged and begins the next epoch. Returns how
  // many messages and notifies (not requests, whose callers learn otherwise) may be lost. Replies
  // go on in the next epoch: the caller may not know of the trouble and wait, and takes a second
  // one for none.
  std::uint64_t break_off();
  TimePoint next_deadline() const;
  // Returns whether there is something to flush.
  bool on_tick(TimePoint now);

  // --- Moving ---
  void save(wire::Writer& writer);
  // False: no state that a conversation could have.
  [[nodiscard]] bool load(wire::Reader& reader);

  // Bookkeeping of EndpointCore.
  bool is_flush_pending = false;
  bool is_route_wanted = false;
  bool is_watched = false;
  bool is_notify_queued = false;
  TimePoint ask_route_at = dvs::never;  // of replies to a peer that was unreachable

 private:
  void promote_waiting();
  void promote_notify();
  void fill_header(PacketHeader& header) const;
  bool was_heard() const { return received_.received() != 0 || peer_epoch_ != 1; }
  void note_acknowledged(const PacketHeader& header);
  // Waits for credit with nothing under way whose acknowledgement could bring it.
  bool is_starved() const { return window_.empty() && !waiting_.empty(); }
  bool flush_probe(Carrier& carrier);
  bool flush_acknowledgement(Carrier& carrier);
  Acknowledgement acknowledgement() const;
  void acknowledge_by(TimePoint when) { acknowledge_at_ = std::min(acknowledge_at_, when); }
  void fields(auto&& field);

  Address self_;
  Address peer_;
  const Limits& limits_;
  PathKind path_ = PathKind::none;

  // Sending. waiting_ holds what has no credit and so no number yet.
  std::uint32_t epoch_ = 1;
  SendWindow<Outgoing> window_;
  std::uint64_t handed_ = 0;  // the highest number of this epoch that a carrier was given
  std::deque<Outgoing> waiting_;
  std::uint64_t retained_cost_ = 0;  // of window_ and waiting_, credit-using packets only
  std::uint64_t sent_cost_ = 0;      // numbered in this epoch
  std::uint64_t credit_;             // what the peer allows in this epoch
  std::uint64_t pending_bits_ = 0;
  std::uint64_t notify_number_ = 0;  // of the notify in flight; 0: none
  TimePoint replay_at_ = dvs::never;
  Duration replay_after_;
  bool is_probe_due_ = false;

  // Receiving.
  std::uint32_t peer_epoch_ = 1;
  ReceiveWindow received_;
  std::uint64_t held_cost_ = 0;      // delivered to the mailbox, not released
  std::uint64_t received_cost_ = 0;  // in this peer_epoch_
  std::uint64_t released_cost_ = 0;  // in this peer_epoch_
  std::uint64_t advertised_credit_;
  unsigned acknowledgements_owed_ = 0;
  TimePoint acknowledge_at_ = dvs::never;
};

}  // namespace dvk::core
