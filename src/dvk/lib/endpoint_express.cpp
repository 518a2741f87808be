// The express connections of an Endpoint: asked for when a relayed conversation is busy, used as
// long as they hold, given up for the relay when they do not.
#include <sys/epoll.h>

#include <algorithm>

#include "dvk/lib/endpoint_impl.hpp"

namespace dvk {
namespace {

// A conversation is busy after so many packets by relay. The end with the lower address asks first,
// so that not both do; should it send little, the other one asks in the end.
constexpr std::uint64_t busy_after = 32;
constexpr std::uint64_t busy_after_patiently = 256;
constexpr std::uint64_t ask_again_after = 8192;
constexpr std::size_t express_paths_max = 64;
// Who waits awake looks at so many connections, a system call each; at more it is better woken.
constexpr std::size_t looked_at_max = 2;

}  // namespace

// A packet goes to `peer` by relay.
void EndpointImpl::count_relayed(const Address& peer) {
  Relayed& relayed = relayed_[peer];
  if (relayed.ask_at == 0) {
    relayed.ask_at = core_->self() < peer ? busy_after : busy_after_patiently;
  }
  if (++relayed.packets < relayed.ask_at) return;
  relayed.ask_at = relayed.packets + ask_again_after;
  if (express_.size() >= express_paths_max || express_.contains(peer)) return;
  // Should it fail the relay goes on; that the daemon is gone shows elsewhere.
  static_cast<void>(attachment_.send(wire::ExpressQuery{peer}));
}

void EndpointImpl::on_express(const wire::Route& route, std::vector<lib::Fd>& fds) {
  // Only beside a relay that is in use: it is what is gone back to.
  const bool is_relayed = core_->route_state(route.peer) == core::EndpointCore::RouteState::ready &&
                          ring_to(route.peer) == nullptr;
  if (fds.empty() || !is_relayed) return;
  drop_express(route.peer);
  auto path =
      lib::ExpressPath::create(route.peer, std::move(fds[0]), route.secret, route.is_initiator);
  if (!path) return;
  const std::uint64_t token = next_token_++;
  if (!attachment_.waiter.add((*path)->fd(), EPOLLIN, token)) return;
  express_[route.peer] = {.path = std::move(*path), .token = token};
  express_peers_[token] = route.peer;
  on_express_event(token);
}

void EndpointImpl::on_express_event(std::uint64_t token) {
  const auto named = express_peers_.find(token);
  if (named == express_peers_.end()) return;
  const Address peer = named->second;
  ExpressUse& use = express_.at(peer);
  const auto shaken = use.path->shake_hands();
  if (!shaken) return fall_back(peer);
  if (*shaken) core_->path_ready(peer, core::PathKind::lossy, now_);
  if (!use.path->is_up()) return;
  const auto take = [&](const wire::PacketHeader& header, BytesView payload) {
    if (header.target() == core_->self()) {
      core_->on_packet(peer, core::PathKind::lossy, header, payload, now_);
    }
  };
  if (!use.path->receive(take) || !use.path->send_off()) return fall_back(peer);
  watch_writable(use);
  core_->path_writable(peer, now_);
}

bool EndpointImpl::express_has_input() {
  if (express_.size() > looked_at_max) return false;
  return std::ranges::any_of(express_, [](auto& use) { return use.second.path->look(); });
}

// What was found while waiting awake.
void EndpointImpl::take_from_express() {
  std::vector<std::uint64_t> found;
  for (const auto& [peer, use] : express_) {
    if (use.path->has_something()) found.push_back(use.token);
  }
  for (const std::uint64_t token : found) on_express_event(token);
}

bool EndpointImpl::push_express(ExpressUse& use, BytesView header, BytesView payload) {
  use.is_dirty = true;
  return use.path->push(header, payload);
}

void EndpointImpl::send_off_express() {
  std::vector<Address> failed;
  for (auto& [peer, use] : express_) {
    if (!std::exchange(use.is_dirty, false)) continue;
    if (!use.path->send_off()) failed.push_back(peer);
    watch_writable(use);
  }
  for (const Address& peer : failed) fall_back(peer);
}

void EndpointImpl::watch_writable(ExpressUse& use) {
  if (use.is_watching_write == use.path->wants_write()) return;
  use.is_watching_write = use.path->wants_write();
  const std::uint32_t events = use.is_watching_write ? EPOLLIN | EPOLLOUT : EPOLLIN;
  static_cast<void>(attachment_.waiter.change(use.path->fd(), events, use.token));
}

// The connection broke: by relay again, from the first packet that was not acknowledged.
void EndpointImpl::fall_back(const Address& peer) {
  const bool was_up = express_.contains(peer) && express_.at(peer).path->is_up();
  drop_express(peer);
  if (was_up && !core_->is_frozen()) core_->path_ready(peer, core::PathKind::lossy, now_);
}

void EndpointImpl::drop_express(const Address& peer) {
  const auto found = express_.find(peer);
  if (found == express_.end()) return;
  attachment_.waiter.remove(found->second.path->fd());
  express_peers_.erase(found->second.token);
  express_.erase(found);
}

}  // namespace dvk
