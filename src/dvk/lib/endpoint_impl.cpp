// Life, paths and waiting of an Endpoint; what it does at its program's word is in
// endpoint_calls.cpp.
#include "dvk/lib/endpoint_impl.hpp"

#include <sys/epoll.h>

#include <cstdlib>

#include "base/assert.hpp"

namespace dvk {
namespace {

using core::PathKind;
using wire::RouteKind;

constexpr char default_socket[] = "/run/dvs/dvk.sock";
// Turns of the pump that may pass without a look at the descriptors while the rings never fall
// silent.
constexpr unsigned turns_between_looks = 256;
// With express connections, which only a look shows.
constexpr unsigned turns_between_express_looks = 16;
// Records taken from one ring before the others get their turn.
constexpr unsigned records_per_turn = 256;
constexpr core::Limits limits;

std::string socket_path(const Options& options) {
  if (!options.socket.empty()) return options.socket;
  const char* from_environment = std::getenv("DVK_SOCKET");
  return from_environment != nullptr && *from_environment != 0 ? from_environment : default_socket;
}

}  // namespace

// --- Beginning and end ---------------------------------------------------------------------------

EndpointImpl::EndpointImpl(lib::Attachment attachment, std::shared_ptr<Canceller::State> canceller)
    : attachment_(std::move(attachment)), canceller_(std::move(canceller)) {}

EndpointImpl::~EndpointImpl() {
  if (core_ && attachment_.to_daemon) send_off();
}

Result<std::unique_ptr<EndpointImpl>> EndpointImpl::open(const Options& options,
                                                         wire::HelloKind kind,
                                                         const Address& address, Bytes* state) {
  if (options.name.size() > max_name_bytes) {
    return dvs::fail(Errc::invalid_argument, "a name has at most 255 bytes");
  }
  const wire::Hello hello{.kind = kind, .name = options.name, .address = address};
  DVS_TRY(auto attachment, lib::Attachment::connect(socket_path(options), hello));
  DVS_TRY(auto event, dvs::runtime::Event::create());
  auto canceller = std::make_shared<Canceller::State>(Canceller::State{std::move(event)});
  auto impl =
      std::unique_ptr<EndpointImpl>(new EndpointImpl(std::move(attachment), std::move(canceller)));
  DVS_CHECK(impl->attachment_.waiter.add(impl->canceller_->event.fd(), EPOLLIN, lib::token_cancel));
  wire::Welcome welcome;
  std::vector<lib::Fd> fds;
  DVS_CHECK(impl->await_welcome(options.deadline, welcome, fds));
  DVS_CHECK(impl->become_open(welcome, fds, state, options.deadline));
  return impl;
}

// There are no rings yet, so this waits on the socket alone.
Result<void> EndpointImpl::await_welcome(Deadline deadline, wire::Welcome& welcome,
                                         std::vector<lib::Fd>& fds) {
  while (true) {
    DVS_TRY(auto control, attachment_.receive());
    if (control) {
      if (const auto* refused = std::get_if<wire::Refused>(&control->message)) {
        return dvs::fail(refused->error, refused->detail);
      }
      if (const auto* answer = std::get_if<wire::Welcome>(&control->message)) {
        welcome = *answer;
        fds = std::move(control->fds);
        return attachment_.take_welcome(fds);
      }
      if (const auto* result = std::get_if<wire::MoveResult>(&control->message)) {
        return dvs::fail(result->error, result->detail);
      }
      return dvs::fail(Errc::protocol_violation, "the daemon's first word is not welcome");
    }
    DVS_TRY(const auto outcome, attachment_.waiter.wait([] { return false; }, deadline.at()));
    if (outcome == ring::Waiter::Outcome::deadline) {
      return dvs::fail(Errc::deadline, "the daemon did not answer");
    }
    for (const auto& event : attachment_.waiter.events()) {
      if (event.token == lib::token_cancel && canceller_->event.drain()) {
        return dvs::fail(Errc::cancelled);
      }
    }
  }
}

Result<void> EndpointImpl::become_open(const wire::Welcome& welcome, std::vector<lib::Fd>& fds,
                                       Bytes* state, Deadline deadline) {
  node_ = welcome.node;
  core_.emplace(welcome.address, static_cast<core::Carrier&>(*this), limits);
  if (state == nullptr) return {};
  if (fds.size() < 6) return dvs::fail(Errc::protocol_violation, "no state came with the endpoint");
  DVS_TRY(const Bytes blob, lib::read_state(fds[5].get(), welcome.state_bytes));
  DVS_TRY(auto moved, wire::decode_fields<MovedState>(blob));
  DVS_CHECK(core_->load(moved.core));
  if (core_->self() != welcome.address) {
    return dvs::fail(Errc::protocol_violation, "the state is another endpoint's");
  }
  DVS_CHECK(attachment_.send(wire::AdoptReady{}));
  DVS_CHECK(wait_until([&] { return move_result_.has_value(); }, deadline));
  const wire::MoveResult result = *std::exchange(move_result_, std::nullopt);
  if (result.error != Errc{}) return dvs::fail(result.error, result.detail);
  thaw();
  *state = std::move(moved.application);
  return {};
}

// What makes every further call fail.
void EndpointImpl::end(dvs::Error reason) {
  if (end_) return;
  end_ = std::move(reason);
  drop_all_paths();
}

Result<void> EndpointImpl::check_usable() const {
  if (end_) return std::unexpected(*end_);
  return {};
}

// --- The pump ------------------------------------------------------------------------------------

Result<void> EndpointImpl::pump() {
  now_ = std::chrono::steady_clock::now();
  if (++turns_since_look_ >=
      (express_.empty() ? turns_between_looks : turns_between_express_looks)) {
    turns_since_look_ = 0;
    DVS_TRY(const bool has_events, attachment_.waiter.look());
    if (has_events) DVS_CHECK(take_events());
  }
  DVS_CHECK(check_usable());
  take_from_daemon();
  for (auto& [peer, path] : rings_) take_from(*path);
  if (!express_.empty()) take_from_express();
  while (!broken_.empty()) {
    const Address peer = broken_.back();
    broken_.pop_back();
    break_path(peer);
  }
  if (core_->next_deadline() <= now_) core_->on_tick(now_);
  send_off();
  return check_usable();
}

bool EndpointImpl::has_input() {
  if (attachment_.from_daemon->is_ready()) return true;
  if (is_daemon_blocked_ && attachment_.to_daemon->has_room_now()) return true;
  for (const auto& [peer, path] : rings_) {
    if (path->in.is_ready()) return true;
    if (path->is_blocked && path->out.has_room_now()) return true;
    if (path->out.has_new_consumer_words()) return true;
  }
  return false;
}

Result<void> EndpointImpl::wait_for_input(dvs::TimePoint until) {
  bool may_wait = !is_daemon_blocked_ || attachment_.to_daemon->request_room();
  for (const auto& [peer, path] : rings_) {
    if (path->is_blocked) may_wait = path->out.request_room() && may_wait;
  }
  if (!may_wait) return {};
  const auto has_input_awake = [this] { return has_input() || express_has_input(); };
  DVS_TRY(const auto outcome,
          attachment_.waiter.wait([this] { return has_input(); }, has_input_awake, until));
  if (outcome != ring::Waiter::Outcome::descriptor) return {};
  turns_since_look_ = 0;
  return take_events();
}

Result<void> EndpointImpl::take_events() {
  bool is_socket_ready = false;
  for (const auto& event : attachment_.waiter.events()) {
    if (event.token == lib::token_socket) is_socket_ready = true;
    if (event.token == lib::token_cancel && canceller_->event.drain()) is_cancelled_ = true;
    if (event.token > lib::token_cancel) on_express_event(event.token);
  }
  if (is_socket_ready) take_control();
  return check_usable();
}

void EndpointImpl::take_control() {
  while (true) {
    auto control = attachment_.receive();
    if (!control) {
      for (auto& [peer, path] : rings_) take_from(*path);
      return end(control.error());
    }
    if (!*control) return;
    // What was sent before this message is in the rings by now: it comes first.
    take_from_daemon();
    on_control(std::move(**control));
  }
}

void EndpointImpl::on_control(lib::ControlMessage control) {
  struct Visitor {
    EndpointImpl& impl;
    std::vector<lib::Fd>& fds;

    void operator()(const wire::Welcome&) {}
    void operator()(const wire::Refused& refused) {
      impl.end(dvs::Error{refused.error, 0, refused.detail});
    }
    void operator()(const wire::Route& route) { impl.on_route(route, fds); }
    void operator()(const wire::NameResult& result) { impl.name_result_ = result; }
    void operator()(const wire::NodesResult& result) { impl.nodes_result_ = result; }
    void operator()(const wire::MoveResult& result) { impl.move_result_ = result; }
    void operator()(const wire::Promoted& promoted) {
      impl.drop_all_paths();
      impl.routed_.clear();
      impl.core_->begin_new_life(promoted.address, impl.now_);
    }
    void operator()(const wire::Barrier& barrier) { impl.barrier_ = barrier.request; }
  };
  std::visit(Visitor{*this, control.fds}, control.message);
}

void EndpointImpl::on_route(const wire::Route& route, std::vector<lib::Fd>& fds) {
  if (core_->is_frozen()) {
    // What is known is asked for again by thaw. Who found this endpoint meanwhile need not be known
    // yet.
    if (route.kind == RouteKind::ring) found_while_frozen_.insert(route.peer);
    return;
  }
  switch (route.kind) {
    case RouteKind::ring: {
      drop_ring(route.peer);
      drop_express(route.peer);
      auto path = lib::RingPath::create(route.peer, route.is_trusted, fds, attachment_.waiter);
      if (!path) return end(path.error());
      rings_[route.peer] = std::move(*path);
      routed_.insert(route.peer);
      return core_->path_ready(route.peer, PathKind::lossless, now_);
    }
    case RouteKind::express: return on_express(route, fds);
    case RouteKind::relay:
      drop_ring(route.peer);
      drop_express(route.peer);
      routed_.insert(route.peer);
      return core_->path_ready(route.peer, PathKind::lossy, now_);
    case RouteKind::wait:
      drop_ring(route.peer);
      drop_express(route.peer);
      return core_->path_waiting(route.peer);
    case RouteKind::gone:
      if (lib::RingPath* path = ring_to(route.peer)) {
        while (path->in.is_ready() && broken_.empty()) take_from(*path);  // its last words
      }
      drop_ring(route.peer);
      drop_express(route.peer);
      relayed_.erase(route.peer);
      routed_.erase(route.peer);
      last_gone_ = {route.peer, route.error};
      return core_->peer_gone(route.peer, route.error, now_);
  }
}

void EndpointImpl::take_from_daemon() {
  auto& ring = *attachment_.from_daemon;
  for (unsigned i = 0; i < records_per_turn && take_record(ring, std::nullopt); ++i) {
  }
  if (ring.take_room_released()) attachment_.daemon_waker->wake();
  if (is_daemon_blocked_ && attachment_.to_daemon->has_room_now()) {
    is_daemon_blocked_ = false;
    for (const Address& peer : std::exchange(blocked_by_daemon_, {})) {
      core_->path_writable(peer, now_);
    }
  }
}

void EndpointImpl::take_from(lib::RingPath& path) {
  for (unsigned i = 0; i < records_per_turn && take_record(path.in, path.peer); ++i) {
  }
  if (path.in.take_room_released()) path.waker.wake();
  if (path.out.has_new_consumer_words()) {
    const ring::ConsumerWords words = path.out.consumer_words();
    core_->on_acknowledgement(
        path.peer, {static_cast<std::uint32_t>(words.epoch), words.acknowledged, words.credit},
        now_);
  }
  if (path.is_blocked && path.out.has_room_now()) {
    path.is_blocked = false;
    core_->path_writable(path.peer, now_);
  }
}

// Takes one packet from a ring: of `peer`, or of the daemon. False: there is none (or nothing to be
// had).
bool EndpointImpl::take_record(ring::RingConsumer& ring, std::optional<Address> peer) {
  const auto record = ring.peek();
  if (!record) {
    if (peer) broken_.push_back(*peer);
    if (!peer) end(dvs::Error{Errc::detached, 0, "dvsd broke the protocol of its ring"});
    return false;
  }
  if (!*record) return false;
  // The header is copied before it is looked at: a peer can still write there. The payload is
  // copied once, by whoever keeps it.
  wire::PacketHeader header;
  const BytesView bytes = **record;
  const bool is_whole = bytes.size() >= sizeof header;
  if (is_whole) std::memcpy(&header, bytes.data(), sizeof header);
  if (!is_whole || header.version != wire::packet_version ||
      header.payload_bytes != bytes.size() - sizeof header ||
      header.payload_bytes > wire::max_message_bytes) {
    if (peer) broken_.push_back(*peer);
    if (!peer) end(dvs::Error{Errc::detached, 0, "dvsd sent a packet that is none"});
    return false;
  }
  const BytesView payload = bytes.subspan(sizeof header);
  if (peer) {
    core_->on_packet(*peer, PathKind::lossless, header, payload, now_);
  } else if (header.kind == wire::PacketKind::copy_result) {
    on_copy_result(header.token, payload);
  } else if (header.target() == core_->self()) {
    core_->on_packet(header.source(), PathKind::lossy, header, payload, now_);
  }
  (void)ring.pop();  // whether to ring a bell is asked once for all, by take_room_released
  return true;
}

void EndpointImpl::break_path(const Address& peer) {
  drop_ring(peer);
  routed_.erase(peer);
  last_gone_ = {peer, Errc::protocol_violation};
  core_->peer_gone(peer, Errc::protocol_violation, now_);
}

void EndpointImpl::send_off() {
  if (is_daemon_dirty_) {
    is_daemon_dirty_ = false;
    attachment_.to_daemon->publish();
    attachment_.daemon_waker->wake();
  }
  for (auto& [peer, path] : rings_) {
    if (path->is_dirty) path->send_off();
  }
  if (!express_.empty()) send_off_express();
}

// --- core::Carrier -------------------------------------------------------------------------------

bool EndpointImpl::transmit(const Address& peer, const wire::PacketHeader& header,
                            BytesView payload) {
  const BytesView head(reinterpret_cast<const std::byte*>(&header), sizeof header);
  if (lib::RingPath* path = ring_to(peer)) {
    const auto pushed = path->out.push(head, payload);
    if (!pushed) broken_.push_back(peer);
    if (!pushed || !*pushed) return path->is_blocked = true, false;
    return path->is_dirty = true;
  }
  if (const auto use = express_.find(peer); use != express_.end() && use->second.path->is_up()) {
    return push_express(use->second, head, payload);
  }
  if (end_) return false;
  const auto pushed = attachment_.to_daemon->push(head, payload);
  if (!pushed) end(dvs::Error{Errc::detached, 0, "dvsd broke the protocol of its ring"});
  if (!pushed || !*pushed) {
    blocked_by_daemon_.insert(peer);
    return is_daemon_blocked_ = true, false;
  }
  count_relayed(peer);
  return is_daemon_dirty_ = true;
}

// Written where the peer looks anyway. It is woken only when it may sleep for want of credit: when
// a good part of its window has become free again.
void EndpointImpl::publish(const Address& peer, const core::Acknowledgement& ours) {
  lib::RingPath* path = ring_to(peer);
  if (path == nullptr) return;
  path->in.publish_words({ours.number, ours.credit, ours.epoch});
  const bool is_new_epoch = ours.epoch != path->woken_epoch;
  if (!is_new_epoch && ours.credit - path->woken_credit < limits.window_cost / 4) return;
  path->woken_epoch = ours.epoch;
  path->woken_credit = ours.credit;
  path->waker.wake();
}

void EndpointImpl::want_route(const Address& peer) {
  if (end_) return;
  drop_ring(peer);
  if (auto sent = attachment_.send(wire::RouteQuery{peer}); !sent) end(sent.error());
}

lib::RingPath* EndpointImpl::ring_to(const Address& peer) {
  if (last_ring_ != nullptr && last_ring_->peer == peer) return last_ring_;
  const auto found = rings_.find(peer);
  if (found == rings_.end()) return nullptr;
  return last_ring_ = found->second.get();
}

void EndpointImpl::drop_ring(const Address& peer) {
  const auto found = rings_.find(peer);
  if (found == rings_.end()) return;
  found->second->out.close();
  found->second->in.close();
  attachment_.waiter.remove_bell(found->second->bell);
  if (last_ring_ == found->second.get()) last_ring_ = nullptr;
  rings_.erase(found);
}

void EndpointImpl::drop_all_paths() {
  while (!rings_.empty()) drop_ring(rings_.begin()->first);
  while (!express_.empty()) drop_express(express_.begin()->first);
}

// Waits until a way to the peer is known, the first time something is sent there.
Result<void> EndpointImpl::ensure_route(const Address& peer, Deadline deadline) {
  DVS_CHECK(check_usable());
  if (routed_.contains(peer)) return {};
  last_gone_.reset();
  DVS_CHECK(core_->find_route(peer));
  Errc reason{};
  const auto is_decided = [&] {
    if (last_gone_ && last_gone_->first == peer) reason = last_gone_->second;
    return reason != Errc{} || core_->route_state(peer) == core::EndpointCore::RouteState::ready;
  };
  // Even who will not wait is not served badly by the moment that finding a neighbour takes.
  const Deadline patience = deadline.is_now() ? Deadline(daemon_patience) : deadline;
  DVS_CHECK(wait_until(is_decided, patience));
  if (reason != Errc{}) return dvs::fail(reason, to_string(peer));
  routed_.insert(peer);
  return {};
}

// --- Event loops ---------------------------------------------------------------------------------

Result<dvs::Duration> EndpointImpl::prepare_sleep() {
  DVS_CHECK(pump());
  attachment_.waiter.begin_sleep();
  bool may_sleep = !is_daemon_blocked_ || attachment_.to_daemon->request_room();
  for (const auto& [peer, path] : rings_) {
    if (path->is_blocked) may_sleep = path->out.request_room() && may_sleep;
  }
  if (!may_sleep || has_input()) return dvs::Duration::zero();
  if (core_->next_deadline() == dvs::never) return dvs::Duration::max();
  return std::max(dvs::Duration::zero(), core_->next_deadline() - now_);
}

Result<void> EndpointImpl::serve() {
  attachment_.waiter.end_sleep();
  DVS_TRY(const bool has_events, attachment_.waiter.look());
  if (has_events) DVS_CHECK(take_events());
  turns_since_look_ = 0;
  return pump();
}

}  // namespace dvk
