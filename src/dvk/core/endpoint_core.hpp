// What an endpoint is, without any I/O: a mailbox, calls under way, and a conversation with each
// peer.
//
// The library drives one of these in each process, the simulator drives hundreds. It is handed
// packets, news of paths and the time; it hands packets to a Carrier and wants to be called again
// at next_deadline().
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "dvk/core/conversation.hpp"

namespace dvk::core {

// Something that arrived in the mailbox.
struct Incoming {
  enum class Kind : std::uint8_t {
    message,
    request,   // `call` is what `reply` needs
    notify,    // `bits` of one sender, all that came since the last was taken
    peer_end,  // a watched peer ended, or messages to a peer were lost: `reason`, `lost`
    promoted,  // this backup has begun the primary's next life
  };
  Kind kind{};
  Address from{};
  std::uint64_t call = 0;
  std::uint64_t bits = 0;
  Errc reason{};
  std::uint64_t lost = 0;   // messages and notifies sent to `from` whose outcome is unknown
  std::uint32_t epoch = 0;  // internal: for giving the credit back
  Bytes payload{};
  void fields(auto&& field) { field(kind, from, call, bits, reason, lost, epoch, payload); }
};

class EndpointCore {
 public:
  EndpointCore(const Address& self, Carrier& carrier, const Limits& limits = {});

  const Address& self() const { return self_; }

  // --- Sending. All return at once; `now` is when. ---
  // Errors: message_too_large, queue_full, peer_died, not_ready (frozen), invalid_argument (to
  // itself).
  Result<void> send(const Address& peer, Bytes payload, TimePoint now);
  bool can_send(const Address& peer, std::size_t payload_bytes);
  // Returns the call's number, for take_reply and cancel_call.
  Result<std::uint64_t> start_call(const Address& peer, Bytes payload, TimePoint now);
  void cancel_call(std::uint64_t call, TimePoint now);
  // Answers a request; a caller that is gone or no longer waits is not an error.
  Result<void> reply(const Address& peer, std::uint64_t call, Bytes payload, TimePoint now);
  Result<void> notify(const Address& peer, std::uint64_t bits, TimePoint now);
  // Asks for a way to the peer, with nothing to send yet; see route_state.
  Result<void> find_route(const Address& peer);
  // Delivers a peer_end, once, when the peer ends or becomes unreachable.
  void watch(const Address& peer, TimePoint now);
  // Errors: message_too_large. All that send checks it, too; who has yet to copy asks before.
  static Result<void> check_payload(BytesView payload);
  // Everything sent to the peer has been taken by its library.
  bool is_flushed(const Address& peer) const;

  // --- Receiving ---
  struct Filter {
    std::optional<Address> from{};
    bool only_requests = false;
  };
  std::optional<Incoming> take(const Filter& filter, TimePoint now);
  // The end of a call: the reply, or peer_died, unreachable, unknown_endpoint, not_permitted.
  // Nothing: not ended yet. A call's result is given once. An unknown number is invalid_argument.
  std::optional<Result<Bytes>> take_reply(std::uint64_t call);

  // --- Paths ---
  // Whether a way to the peer is known (or it is gone). `send` need not wait for it.
  enum class RouteState : std::uint8_t { unknown, waiting, ready };
  RouteState route_state(const Address& peer) const;
  // Why a peer cannot be reached, as far as is remembered.
  std::optional<Errc> end_of(const Address& peer) const;

  void path_ready(const Address& peer, PathKind path, TimePoint now);
  // The peer is being moved, or its path broke: hold everything until path_ready.
  void path_waiting(const Address& peer);
  // peer_died, unknown_endpoint, not_permitted, protocol_violation: for good. unreachable: for now.
  void peer_gone(const Address& peer, Errc reason, TimePoint now);
  void path_writable(const Address& peer, TimePoint now);

  // A packet from `peer` (whatever its header claims) that came on a path of this kind.
  void on_packet(const Address& peer, PathKind path, const PacketHeader& header, BytesView payload,
                 TimePoint now);
  void on_acknowledgement(const Address& peer, const Acknowledgement& acknowledgement,
                          TimePoint now);
  void on_tick(TimePoint now);
  // `never` while frozen: then nothing happens by itself.
  TimePoint next_deadline() const { return is_frozen_ ? dvs::never : deadline_; }

  // --- Moving ---
  // Stops everything; packets that still arrive are dropped (their senders repeat them).
  void freeze() { is_frozen_ = true; }
  void thaw(TimePoint now);
  bool is_frozen() const { return is_frozen_; }
  // The frozen state. `load` makes a core that goes on exactly where the saved one stopped; it has
  // no paths yet and asks for them when thawed. Errors: protocol_violation, version_mismatch; the
  // core that failed to load is good for nothing.
  Bytes save();
  Result<void> load(BytesView state);

  // A backup became the primary: a new life under another address. Its conversations end (their
  // peers are told by the directory), what lies in the mailbox stays.
  void begin_new_life(const Address& self, TimePoint now);

 private:
  struct Call {
    Address peer{};
    bool is_done = false;
    Errc error{};
    Bytes reply{};
    void fields(auto&& field) { field(peer, is_done, error, reply); }
  };

  Conversation* find(const Address& peer) const;
  Result<Conversation*> open(const Address& peer);
  Conversation& conversation(const Address& peer);
  void flush(Conversation& conversation, TimePoint now);
  void deliver(Conversation& from, const PacketHeader& header, BytesView payload);
  void deliver_notify(Conversation& from, std::uint64_t bits);
  void drop_request(Conversation& from, std::uint64_t call, TimePoint now);
  void fail_calls(const Address& peer, Errc reason);
  void remember_end(const Address& peer, Errc reason);
  void wake_by(TimePoint when) { deadline_ = std::min(deadline_, when); }

  Address self_;
  Carrier& carrier_;
  Limits limits_;
  bool is_frozen_ = false;
  std::map<Address, std::unique_ptr<Conversation>> conversations_;
  mutable Conversation* last_used_ = nullptr;  // the conversation found last: most calls repeat it
  std::deque<Incoming> mailbox_;
  std::map<std::uint64_t, Call> calls_;
  std::uint64_t next_call_ = 1;
  // Ended incarnations, so that a straggling packet of theirs is not taken for a new conversation.
  // Bounded: the oldest is forgotten.
  std::map<Address, Errc> ended_;
  std::deque<Address> ended_order_;
  TimePoint deadline_ = dvs::never;
};

}  // namespace dvk::core
