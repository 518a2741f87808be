#include "dvk/core/endpoint_core.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace dvk::core {
namespace {

constexpr std::size_t ended_remembered_max = 4096;
constexpr std::uint32_t state_version = 1;

}  // namespace

EndpointCore::EndpointCore(const Address& self, Carrier& carrier, const Limits& limits)
    : self_(self), carrier_(carrier), limits_(limits) {}

// --- Conversations -------------------------------------------------------------------------------

Conversation* EndpointCore::find(const Address& peer) const {
  if (last_used_ != nullptr && last_used_->peer() == peer) return last_used_;
  const auto found = conversations_.find(peer);
  if (found == conversations_.end()) return nullptr;
  return last_used_ = found->second.get();
}

Conversation& EndpointCore::conversation(const Address& peer) {
  if (Conversation* existing = find(peer)) return *existing;
  auto& slot = conversations_[peer];
  slot = std::make_unique<Conversation>(self_, peer, limits_);
  return *(last_used_ = slot.get());
}

// The conversation for sending to `peer`; refuses what cannot have one.
Result<Conversation*> EndpointCore::open(const Address& peer) {
  if (is_frozen_) return dvs::fail(Errc::not_ready, "the endpoint is frozen for a move");
  if (!peer || peer.container != self_.container) {
    return dvs::fail(Errc::invalid_argument,
                     "not an address of this container: " + to_string(peer));
  }
  if (peer == self_) return dvs::fail(Errc::invalid_argument, "an endpoint cannot talk to itself");
  if (const auto ended = ended_.find(peer); ended != ended_.end()) {
    return dvs::fail(ended->second, to_string(peer));
  }
  return &conversation(peer);
}

void EndpointCore::flush(Conversation& conversation, TimePoint now) {
  if (is_frozen_) return;
  if (conversation.path() == PathKind::none) {
    if (!conversation.is_route_wanted && !conversation.is_flushed()) {
      conversation.is_route_wanted = true;
      carrier_.want_route(conversation.peer());
    }
    return;
  }
  conversation.is_flush_pending = !conversation.flush(carrier_, now);
  // Whoever waits for room is told of it by path_writable, not by the clock.
  if (!conversation.is_flush_pending) wake_by(conversation.next_deadline());
}

// --- Sending -------------------------------------------------------------------------------------

Result<void> EndpointCore::check_payload(BytesView payload) {
  if (payload.size() <= wire::max_message_bytes) return {};
  return dvs::fail(Errc::message_too_large, std::to_string(payload.size()) + " bytes, at most " +
                                                std::to_string(wire::max_message_bytes) +
                                                "; use a copy under a grant for more");
}

Result<void> EndpointCore::send(const Address& peer, Bytes payload, TimePoint now) {
  DVS_CHECK(check_payload(payload));
  DVS_TRY(Conversation * to, open(peer));
  DVS_CHECK(to->submit(PacketKind::message, 0, std::move(payload)));
  flush(*to, now);
  return {};
}

bool EndpointCore::can_send(const Address& peer, std::size_t payload_bytes) {
  const Conversation* to = find(peer);
  return to == nullptr || to->has_room(payload_bytes);
}

Result<std::uint64_t> EndpointCore::start_call(const Address& peer, Bytes payload, TimePoint now) {
  DVS_CHECK(check_payload(payload));
  DVS_TRY(Conversation * to, open(peer));
  const std::uint64_t call = next_call_;
  DVS_CHECK(to->submit(PacketKind::request, call, std::move(payload)));
  ++next_call_;
  calls_.emplace(call, Call{.peer = peer});
  flush(*to, now);
  return call;
}

void EndpointCore::cancel_call(std::uint64_t call, TimePoint now) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) return;
  Conversation* to = found->second.is_done ? nullptr : find(found->second.peer);
  calls_.erase(found);
  if (to == nullptr) return;
  if (!to->withdraw_request(call)) {
    (void)to->submit(PacketKind::cancel, call, {});  // needs no credit: cannot fail
  }
  flush(*to, now);
}

Result<void> EndpointCore::reply(const Address& peer, std::uint64_t call, Bytes payload,
                                 TimePoint now) {
  DVS_CHECK(check_payload(payload));
  if (is_frozen_) return dvs::fail(Errc::not_ready, "the endpoint is frozen for a move");
  Conversation* to = find(peer);
  if (to == nullptr) return {};  // the caller ended: nobody waits
  DVS_CHECK(to->submit(PacketKind::reply, call, std::move(payload)));
  flush(*to, now);
  return {};
}

Result<void> EndpointCore::notify(const Address& peer, std::uint64_t bits, TimePoint now) {
  DVS_TRY(Conversation * to, open(peer));
  to->notify(bits);
  flush(*to, now);
  return {};
}

Result<void> EndpointCore::find_route(const Address& peer) {
  DVS_TRY(Conversation * to, open(peer));
  if (to->path() != PathKind::none || to->is_route_wanted) return {};
  to->is_route_wanted = true;
  carrier_.want_route(peer);
  return {};
}

void EndpointCore::watch(const Address& peer, TimePoint now) {
  const auto to = open(peer);
  if (!to) {
    mailbox_.push_back({.kind = Incoming::Kind::peer_end, .from = peer, .reason = to.error().code});
    return;
  }
  (*to)->is_watched = true;
  (void)find_route(peer);
  flush(**to, now);
}

bool EndpointCore::is_flushed(const Address& peer) const {
  const Conversation* to = find(peer);
  return to == nullptr || to->is_flushed();
}

// --- Receiving -----------------------------------------------------------------------------------

std::optional<Incoming> EndpointCore::take(const Filter& filter, TimePoint now) {
  const auto matches = [&](const Incoming& item) {
    return (!filter.from || item.from == *filter.from) &&
           (!filter.only_requests || item.kind == Incoming::Kind::request);
  };
  const auto found = std::ranges::find_if(mailbox_, matches);
  if (found == mailbox_.end()) return std::nullopt;
  Incoming item = std::move(*found);
  mailbox_.erase(found);
  if (Conversation* from = find(item.from)) {
    if (item.kind == Incoming::Kind::notify) {
      from->is_notify_queued = false;
    } else if (item.kind != Incoming::Kind::peer_end) {
      from->release(item.epoch, from->cost_of(item.payload.size()), now);
      // The program may not come back for long once it has taken everything. A request needs no
      // such care: its reply carries the acknowledgement.
      if (item.kind == Incoming::Kind::message && mailbox_.empty()) from->acknowledge_now(now);
      flush(*from, now);
    }
  }
  return item;
}

std::optional<Result<Bytes>> EndpointCore::take_reply(std::uint64_t call) {
  const auto found = calls_.find(call);
  if (found == calls_.end()) {
    return Result<Bytes>(dvs::fail(Errc::invalid_argument, "no such call"));
  }
  Call& state = found->second;
  if (!state.is_done) return std::nullopt;
  Result<Bytes> result = state.error == Errc{} ? Result<Bytes>(std::move(state.reply))
                                               : dvs::fail(state.error, to_string(state.peer));
  calls_.erase(found);
  return result;
}

void EndpointCore::on_packet(const Address& peer, PathKind path, const PacketHeader& header,
                             BytesView payload, TimePoint now) {
  // A straggler of an ended life must not begin a new conversation.
  if (is_frozen_ || !peer || peer == self_ || ended_.contains(peer)) return;
  Conversation& from = conversation(peer);
  // What arrives by relay shows that the relay works, unless a better path is in use.
  if (from.path() == PathKind::none && path == PathKind::lossy && !from.is_route_wanted) {
    path_ready(peer, path, now);
  }
  if (from.receive(header, now)) deliver(from, header, payload);
  if (header.kind == PacketKind::cancel) drop_request(from, header.token, now);
  flush(from, now);
}

void EndpointCore::deliver(Conversation& from, const PacketHeader& header, BytesView payload) {
  Incoming item{.from = from.peer(), .call = header.token, .epoch = header.epoch};
  switch (header.kind) {
    case PacketKind::message:
      item.kind = Incoming::Kind::message;
      item.call = 0;
      break;
    case PacketKind::request: item.kind = Incoming::Kind::request; break;
    case PacketKind::reply: {
      const auto call = calls_.find(header.token);
      if (call == calls_.end() || call->second.peer != from.peer() || call->second.is_done) return;
      call->second.is_done = true;
      call->second.reply = dvs::to_bytes(payload);
      return;
    }
    case PacketKind::notify: deliver_notify(from, header.token); return;
    default: return;
  }
  item.payload = dvs::to_bytes(payload);
  mailbox_.push_back(std::move(item));
}

void EndpointCore::deliver_notify(Conversation& from, std::uint64_t bits) {
  if (from.is_notify_queued) {
    const auto queued = std::ranges::find_if(mailbox_, [&](const Incoming& item) {
      return item.kind == Incoming::Kind::notify && item.from == from.peer();
    });
    if (queued != mailbox_.end()) {
      queued->bits |= bits;
      return;
    }
  }
  from.is_notify_queued = true;
  mailbox_.push_back({.kind = Incoming::Kind::notify, .from = from.peer(), .bits = bits});
}

// The caller gave up: a request that nobody has taken yet need not be served.
void EndpointCore::drop_request(Conversation& from, std::uint64_t call, TimePoint now) {
  const auto found = std::ranges::find_if(mailbox_, [&](const Incoming& item) {
    return item.kind == Incoming::Kind::request && item.from == from.peer() && item.call == call;
  });
  if (found == mailbox_.end()) return;
  from.release(found->epoch, from.cost_of(found->payload.size()), now);
  mailbox_.erase(found);
}

void EndpointCore::on_acknowledgement(const Address& peer, const Acknowledgement& acknowledgement,
                                      TimePoint now) {
  Conversation* to = find(peer);
  if (is_frozen_ || to == nullptr) return;
  to->on_acknowledgement(acknowledgement, now);
  flush(*to, now);
}

void EndpointCore::on_tick(TimePoint now) {
  if (is_frozen_ || now < deadline_) return;
  deadline_ = dvs::never;
  for (auto& [peer, conversation] : conversations_) {
    const bool is_asking = now >= conversation->ask_route_at;
    if (is_asking) conversation->ask_route_at = dvs::never;
    if (conversation->on_tick(now) || is_asking) flush(*conversation, now);
    wake_by(conversation->ask_route_at);
    if (!conversation->is_flush_pending) wake_by(conversation->next_deadline());
  }
}

// --- Paths ---------------------------------------------------------------------------------------

EndpointCore::RouteState EndpointCore::route_state(const Address& peer) const {
  const Conversation* to = find(peer);
  if (to == nullptr) return RouteState::unknown;
  if (to->path() != PathKind::none) return RouteState::ready;
  return to->is_route_wanted ? RouteState::waiting : RouteState::unknown;
}

std::optional<Errc> EndpointCore::end_of(const Address& peer) const {
  const auto ended = ended_.find(peer);
  return ended == ended_.end() ? std::nullopt : std::optional(ended->second);
}

void EndpointCore::path_ready(const Address& peer, PathKind path, TimePoint now) {
  if (ended_.contains(peer)) return;
  Conversation& to = conversation(peer);
  to.is_route_wanted = false;
  to.set_path(path);
  flush(to, now);
}

void EndpointCore::path_waiting(const Address& peer) {
  if (Conversation* to = find(peer)) {
    to->set_path(PathKind::none);
    to->is_route_wanted = true;  // the answer will come by itself
  }
}

void EndpointCore::path_writable(const Address& peer, TimePoint now) {
  if (Conversation* to = find(peer)) flush(*to, now);
}

void EndpointCore::peer_gone(const Address& peer, Errc reason, TimePoint now) {
  fail_calls(peer, reason);
  Conversation* to = find(peer);
  if (to == nullptr) {
    if (reason == Errc::peer_died) remember_end(peer, reason);
    return;
  }
  const bool has_begun = to->has_begun();
  const std::uint64_t lost = to->break_off();
  if (lost != 0 || to->is_watched) {
    mailbox_.push_back(
        {.kind = Incoming::Kind::peer_end, .from = peer, .reason = reason, .lost = lost});
  }
  to->is_watched = to->is_route_wanted = to->is_flush_pending = false;
  const bool is_final = reason == Errc::peer_died || reason == Errc::protocol_violation;
  // A peer that may come back repeats what was taken already, and knows our numbers.
  if (!is_final && has_begun) {
    if (!to->is_flushed()) wake_by(to->ask_route_at = now + limits_.replay_after_max);
    return;
  }
  if (is_final) remember_end(peer, reason);
  last_used_ = nullptr;
  conversations_.erase(peer);
}

void EndpointCore::fail_calls(const Address& peer, Errc reason) {
  for (auto& [number, call] : calls_) {
    if (call.is_done || call.peer != peer) continue;
    call.is_done = true;
    call.error = reason;
  }
}

void EndpointCore::remember_end(const Address& peer, Errc reason) {
  if (!ended_.emplace(peer, reason).second) return;
  ended_order_.push_back(peer);
  if (ended_order_.size() <= ended_remembered_max) return;
  ended_.erase(ended_order_.front());
  ended_order_.pop_front();
}

// --- Moving --------------------------------------------------------------------------------------

void EndpointCore::thaw(TimePoint now) {
  is_frozen_ = false;
  deadline_ = now;
  for (auto& [peer, conversation] : conversations_) {
    // What was known of the way may have changed meanwhile.
    conversation->set_path(PathKind::none);
    conversation->is_route_wanted = true;
    carrier_.want_route(peer);
  }
}

Bytes EndpointCore::save() {
  DVS_ASSERT(is_frozen_);
  Bytes state;
  wire::Writer writer(state);
  std::uint32_t version = state_version;
  auto count = static_cast<std::uint32_t>(conversations_.size());
  writer(version, self_, next_call_, count);
  for (auto& [peer, conversation] : conversations_) {
    Address address = peer;
    writer(address);
    conversation->save(writer);
  }
  std::vector<Incoming> mailbox(mailbox_.begin(), mailbox_.end());
  count = static_cast<std::uint32_t>(calls_.size());
  writer(mailbox, count);
  for (auto& [number, call] : calls_) {
    std::uint64_t key = number;
    writer(key, call);
  }
  count = static_cast<std::uint32_t>(ended_order_.size());
  writer(count);
  for (Address& address : ended_order_) writer(address, ended_[address]);
  return state;
}

Result<void> EndpointCore::load(BytesView state) {
  wire::Reader reader(state);
  std::uint32_t version = 0, count = 0;
  reader(version, self_, next_call_, count);
  if (reader.is_good() && version != state_version) {
    return dvs::fail(Errc::version_mismatch,
                     "state of endpoint version " + std::to_string(version));
  }
  for (; count != 0 && reader.is_good(); --count) {
    Address peer;
    reader(peer);
    if (!conversation(peer).load(reader)) {
      return dvs::fail(Errc::protocol_violation, "malformed conversation in endpoint state");
    }
  }
  std::vector<Incoming> mailbox;
  reader(mailbox, count);
  mailbox_.assign(std::make_move_iterator(mailbox.begin()), std::make_move_iterator(mailbox.end()));
  for (; count != 0 && reader.is_good(); --count) {
    std::uint64_t number = 0;
    reader(number);
    reader(calls_[number]);
  }
  reader(count);
  for (; count != 0 && reader.is_good(); --count) {
    Address address;
    Errc reason{};
    reader(address, reason);
    remember_end(address, reason);
  }
  if (!reader.is_complete()) return dvs::fail(Errc::protocol_violation, "malformed endpoint state");
  is_frozen_ = true;
  return {};
}

void EndpointCore::begin_new_life(const Address& self, TimePoint now) {
  while (!conversations_.empty()) {
    const Address peer = conversations_.begin()->first;
    // The peers are told that the old life ended; what was sent from it ended with it.
    peer_gone(peer, Errc::unreachable, now);
    last_used_ = nullptr;
    conversations_.erase(peer);
  }
  self_ = self;
  mailbox_.push_back({.kind = Incoming::Kind::promoted, .from = self});
}

}  // namespace dvk::core
