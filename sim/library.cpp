#include "sim/library.hpp"

#include "sim/process.hpp"

namespace sim {

using dvk::core::EndpointCore;
using dvk::core::PathKind;
using dvk::wire::PacketHeader;
using dvk::wire::PacketKind;
using dvk::wire::RouteKind;
using dvs::Errc;
using std::chrono::milliseconds;

Library::Library(Context& context, Attachment& attachment, LibraryUpper& upper,
                 const NodeClock& clock, const dvk::wire::Hello& hello)
    : context_(context),
      attachment_(attachment),
      upper_(upper),
      clock_(clock),
      is_adopter_(hello.kind == dvk::wire::HelloKind::adopt),
      is_backup_(hello.kind == dvk::wire::HelloKind::backup),
      tick_alarm_(context.scheduler, [this] { tick(); }),
      room_alarm_(context.scheduler, [this] { flush_blocked(); }),
      copy_alarm_(context.scheduler, [this] { try_copies(); }) {
  tell_daemon(hello);
}

void Library::stop() {
  state_ = State::ended;
  tick_alarm_.clear();
  room_alarm_.clear();
  copy_alarm_.clear();
  for (auto& [peer, ring] : rings_) ring->close(*this);
  rings_.clear();
  attachment_.to_process.close();
  attachment_.ring_to_process.close();
  tell_daemon_closed();
}

void Library::tell_daemon(dvk::wire::ToDaemon message, dvs::Bytes state) {
  attachment_.to_daemon.push({std::move(message), std::move(state)});
}
void Library::tell_daemon_closed() {
  attachment_.to_daemon.push({std::nullopt, {}});
}

// --- Clock ---

void Library::settle() {
  if (!core_ || state_ == State::ended) return;
  tick_alarm_.set(clock_.world(core_->next_deadline()));
}

void Library::tick() {
  if (!core_) return;
  if (const Instant ready = attachment_.process.ready_at(); ready > context_.now()) {
    return tick_alarm_.set(ready);
  }
  core_->on_tick(now());
  settle();
}

// --- Carrying packets ---

void Library::want_route(const Address& peer) {
  use_ring(peer, nullptr);
  tell_daemon(dvk::wire::RouteQuery{peer});
}

bool Library::push_to_daemon(RingRecord record) {
  const std::size_t bytes = record.bytes();
  return attachment_.ring_to_daemon.push(std::move(record), bytes);
}

bool Library::transmit(const Address& peer, const PacketHeader& header, dvs::BytesView payload) {
  ++context_.packets;
  const auto ring = rings_.find(peer);
  RingRecord record{header, dvs::to_bytes(payload)};
  const bool is_taken = ring != rings_.end() ? ring->second->push(*this, std::move(record))
                                             : push_to_daemon(std::move(record));
  if (!is_taken) blocked_.insert(peer);
  return is_taken;
}

void Library::publish(const Address& peer, const dvk::core::Acknowledgement& acknowledgement) {
  const auto ring = rings_.find(peer);
  if (ring != rings_.end()) ring->second->publish(*this, acknowledgement);
}

// Room is announced by a doorbell, which takes its time to wake this process.
void Library::on_ring_room() {
  if (!blocked_.empty()) room_alarm_.set_by(context_.now() + context_.local_delay());
}

void Library::flush_blocked() {
  if (!core_ || state_ == State::ended) return;
  if (const Instant ready = attachment_.process.ready_at(); ready > context_.now()) {
    return room_alarm_.set(ready);
  }
  const std::set<Address> peers = std::exchange(blocked_, {});
  for (const Address& peer : peers) core_->path_writable(peer, now());
  settle();
}

void Library::on_daemon_packet(RingRecord&& record) {
  if (!core_) return;
  if (record.header.kind == PacketKind::copy_result) {
    const auto outcome = dvk::wire::decode_fields<dvk::wire::CopyOutcome>(record.payload);
    DVS_ASSERT(outcome.has_value());
    const auto copy = copies_.find(record.header.token);
    // Its route was lost meanwhile: find it again and order once more.
    if (copy != copies_.end() && outcome->error == Errc::not_ready) {
      copy->second.is_sent = false;
      return copy_alarm_.set_by(context_.now() + milliseconds(2));
    }
    return end_copy(record.header.token, outcome->error);
  }
  const Address peer = record.header.source();
  if (record.header.target() != core_->self() || peer.container != core_->self().container) {
    // Meant for the life before a promotion: possible while the daemon's news is on its way.
    if (peer.container != core_->self().container) {
      context_.judge.fail("isolation", "a packet crossed containers", {peer, core_->self()});
    }
    return;
  }
  context_.record({.what = Happening::packet_taken,
                   .from = peer,
                   .to = core_->self(),
                   .a = static_cast<std::uint64_t>(record.header.kind) << 8 | 2,
                   .b = std::uint64_t{record.header.epoch} << 32 | record.header.sequence,
                   .c = record.header.token});
  core_->on_packet(peer, PathKind::lossy, record.header, record.payload, now());
  settle();
  upper_.on_mail();
}

// --- Rings to peers ---

Instant Library::rings_ready_at() const {
  return attachment_.process.ready_at();
}

const Address* Library::peer_of(const PeerRing& ring) const {
  for (const auto& [peer, current] : rings_) {
    if (current.get() == &ring) return &peer;
  }
  return nullptr;
}

void Library::on_peer_packet(PeerRing& ring, RingRecord&& record) {
  const Address* found = peer_of(ring);
  if (found == nullptr || !core_) return;
  const Address peer = *found;
  context_.record({.what = Happening::packet_taken,
                   .from = peer,
                   .to = core_->self(),
                   .a = static_cast<std::uint64_t>(record.header.kind) << 8 | 1,
                   .b = std::uint64_t{record.header.epoch} << 32 | record.header.sequence,
                   .c = record.header.token});
  core_->on_packet(peer, PathKind::lossless, record.header, record.payload, now());
  settle();
  upper_.on_mail();
}

void Library::on_peer_words(PeerRing& ring, const dvk::core::Acknowledgement& words) {
  const Address* peer = peer_of(ring);
  if (peer == nullptr || !core_) return;
  context_.record({.what = Happening::words_taken,
                   .from = *peer,
                   .to = core_->self(),
                   .a = words.epoch,
                   .b = words.number,
                   .c = words.credit});
  core_->on_acknowledgement(*peer, words, now());
  settle();
  upper_.on_mail();
}

void Library::use_ring(const Address& peer, std::shared_ptr<PeerRing> ring) {
  if (const auto old = rings_.find(peer); old != rings_.end()) {
    old->second->close(*this);
    rings_.erase(old);
  }
  if (ring == nullptr) return;
  ring->open(*this);
  rings_[peer] = std::move(ring);
}

// --- News from the daemon ---

void Library::on_daemon_message(ToProcessItem&& item) {
  if (state_ == State::ended) return;
  TraceEvent event{.what = Happening::daemon_message,
                   .a = dvs::raw(attachment_.handle),
                   .b = item.message.index()};
  if (core_) event.from = core_->self();
  if (const auto* route = std::get_if<dvk::wire::Route>(&item.message)) {
    event.to = route->peer;
    event.c =
        static_cast<std::uint64_t>(route->kind) << 16 | static_cast<std::uint64_t>(route->error);
  }
  context_.record(event);
  struct Visitor {
    Library& library;
    ToProcessItem& item;

    void operator()(const dvk::wire::Welcome& m) { library.on_welcome(m, item.state); }
    void operator()(const dvk::wire::Refused& m) { library.upper_.on_refused(m.error); }
    void operator()(const dvk::wire::Route& m) { library.on_route(m, std::move(item.ring)); }
    void operator()(const dvk::wire::NameResult& m) {
      library.upper_.on_name(m.request, m.error, m.address);
    }
    void operator()(const dvk::wire::NodesResult&) {}
    void operator()(const dvk::wire::MoveResult& m) { library.on_move_result(m); }
    void operator()(const dvk::wire::Promoted& m) { library.on_promoted(m.address); }
    void operator()(const dvk::wire::Barrier& m) {
      if (m.request == library.move_barrier_) return library.freeze_and_move();
      library.upper_.on_barrier(m.request);
    }
  };
  std::visit(Visitor{*this, item}, item.message);
  settle();
}

void Library::on_welcome(const dvk::wire::Welcome& message, dvs::BytesView state) {
  dvk::core::Carrier& carrier = *this;
  core_.emplace(message.address, carrier, context_.scenario.limits);
  if (!is_adopter_) {
    state_ = State::active;
    return upper_.on_welcome();
  }
  state_ = State::adopting;
  if (const auto loaded = core_->load(state); !loaded || core_->self() != message.address) {
    return context_.judge.fail("migration", "the state of a moved endpoint does not load",
                               {message.address});
  }
  upper_.on_adopting();
  tell_daemon(dvk::wire::AdoptReady{});
}

void Library::on_route(const dvk::wire::Route& route, std::shared_ptr<PeerRing> ring) {
  if (!core_ || core_->is_frozen()) return;
  context_.record({.what = Happening::path,
                   .from = core_->self(),
                   .to = route.peer,
                   .a = static_cast<std::uint64_t>(route.kind),
                   .b = static_cast<std::uint64_t>(route.error)});
  switch (route.kind) {
    case RouteKind::ring:
      use_ring(route.peer, std::move(ring));
      core_->path_ready(route.peer, PathKind::lossless, now());
      break;
    case RouteKind::relay:
    case RouteKind::express:
      use_ring(route.peer, nullptr);
      core_->path_ready(route.peer, PathKind::lossy, now());
      break;
    case RouteKind::wait:
      use_ring(route.peer, nullptr);
      core_->path_waiting(route.peer);
      break;
    case RouteKind::gone: on_gone(route.peer, route.error); break;
  }
  if (!copies_.empty()) copy_alarm_.set_by(context_.now());
  upper_.on_mail();
}

void Library::on_gone(const Address& peer, Errc reason) {
  if (const auto ring = rings_.find(peer); ring != rings_.end()) {
    const std::shared_ptr<PeerRing> last = ring->second;
    last->drain(*this);
  }
  use_ring(peer, nullptr);
  context_.calls.check_reason(core_->self(), peer, reason);
  context_.messages.broken(core_->self(), peer);
  std::vector<std::uint64_t> failed;
  for (const auto& [number, copy] : copies_) {
    const bool concerns_it = copy.order.source == peer || copy.order.target == peer;
    if (concerns_it && !copy.is_sent) failed.push_back(number);
  }
  for (const std::uint64_t number : failed) end_copy(number, reason);
  core_->peer_gone(peer, reason, now());
}

void Library::on_promoted(const Address& address) {
  const Address old = core_->self();
  for (auto& [peer, ring] : rings_) ring->close(*this);
  rings_.clear();
  blocked_.clear();
  copies_.clear();  // they were those of the life before
  is_backup_ = false;
  core_->begin_new_life(address, now());
  upper_.on_promoted(old);
}

// --- Names, copies ---

std::uint64_t Library::look_up(const std::string& name) {
  tell_daemon(dvk::wire::NameQuery{next_request_, name});
  return next_request_++;
}

std::uint64_t Library::ask_barrier() {
  tell_daemon(dvk::wire::BarrierQuery{next_request_});
  return next_request_++;
}

std::uint64_t Library::order_copy(const dvk::wire::CopyOrder& order) {
  copies_[next_request_] = {order};
  copy_alarm_.set_by(context_.now());
  return next_request_++;
}

bool Library::is_reachable(const Address& peer) {
  return peer == core_->self() || core_->route_state(peer) == EndpointCore::RouteState::ready;
}

void Library::try_copies() {
  if (state_ != State::active) return;
  if (const Instant ready = attachment_.process.ready_at(); ready > context_.now()) {
    return copy_alarm_.set(ready);
  }
  std::vector<std::pair<std::uint64_t, Errc>> failed;
  for (auto& [number, copy] : copies_) {
    if (copy.is_sent) continue;
    bool is_ready = true;
    for (const Address& side : {copy.order.source, copy.order.target}) {
      if (is_reachable(side)) continue;
      is_ready = false;
      if (const auto found = core_->find_route(side); !found) {
        failed.emplace_back(number, found.error().code);
        break;
      }
    }
    if (!is_ready) continue;
    RingRecord record;
    record.payload = dvk::wire::encode_fields(copy.order);
    record.header.kind = PacketKind::copy_request;
    record.header.token = number;
    record.header.payload_bytes = static_cast<std::uint32_t>(record.payload.size());
    copy.is_sent = push_to_daemon(std::move(record));
    if (!copy.is_sent) copy_alarm_.set_by(context_.now() + milliseconds(1));
  }
  for (const auto& [number, error] : failed) end_copy(number, error);
  settle();
}

void Library::end_copy(std::uint64_t copy, Errc error) {
  if (copies_.erase(copy) != 0) upper_.on_copy_end(copy, error);
}

// --- Moving ---

void Library::begin_move(NodeId target) {
  DVS_ASSERT(is_active() && !is_backup_ && copies_.empty());
  state_ = State::preparing_move;
  move_target_ = target;
  move_barrier_ = ask_barrier();
}

void Library::cancel_move() {
  if (state_ == State::moving) tell_daemon(dvk::wire::MoveCancel{});
}

void Library::freeze_and_move() {
  move_barrier_ = 0;
  state_ = State::moving;
  core_->freeze();
  upper_.on_frozen();
  dvs::Bytes state = core_->save();
  tell_daemon(dvk::wire::MoveOut{move_target_, state.size()}, std::move(state));
}

void Library::on_move_result(const dvk::wire::MoveResult& message) {
  if (state_ != State::moving && state_ != State::adopting) {
    return context_.judge.fail("migration", "the end of a move that was not begun",
                               {core_ ? core_->self() : Address{}});
  }
  const bool is_owner = (state_ == State::adopting) == (message.error == Errc{});
  const bool was_adopting = state_ == State::adopting;
  // The program decides and checks first: from here on the endpoint acts.
  if (was_adopting) {
    upper_.on_adopt_result(message.error);
  } else {
    upper_.on_move_result(message.error);
  }
  if (is_owner) thaw();
}

void Library::thaw() {
  state_ = State::active;
  core_->thaw(now());
  settle();
  upper_.on_mail();
}

void Library::forge(const PacketHeader& header, dvs::Bytes payload) {
  push_to_daemon({header, std::move(payload)});
}

}  // namespace sim
