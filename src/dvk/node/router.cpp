#include "dvk/node/router.hpp"

#include <algorithm>

namespace dvk::node {
namespace {

using wire::OpenStatus;
using wire::RouteKind;

constexpr unsigned hops_max = 8;

}  // namespace

Router::Router(NodeId self, Output& output, LocalTable& locals, Directory& directory,
               const Policy& policy)
    : self_(self), output_(output), locals_(locals), directory_(directory), policy_(policy) {}

Router::Pair* Router::find(const Address& local, const Address& remote) {
  const auto peers = pairs_.find(local);
  if (peers == pairs_.end()) return nullptr;
  const auto pair = peers->second.find(remote);
  return pair == peers->second.end() ? nullptr : &pair->second;
}

void Router::tell(const Address& local, const Address& peer, RouteKind kind, Errc error,
                  NodeId node, bool is_reset) {
  const LocalEndpoint* endpoint = locals_.find(local);
  if (endpoint == nullptr || endpoint->state != LocalState::active) return;
  output_.to_process(
      endpoint->handle,
      wire::Route{.peer = peer, .kind = kind, .error = error, .node = node, .is_reset = is_reset});
}

void Router::drop(const Address& local, const Address& remote) {
  if (const auto peers = pairs_.find(local); peers != pairs_.end()) {
    peers->second.erase(remote);
    if (peers->second.empty()) pairs_.erase(peers);
  }
  if (const auto users = remote_.find(remote); users != remote_.end()) {
    users->second.erase(local);
    if (users->second.empty()) remote_.erase(users);
  }
}

void Router::end(const Address& local, const Address& remote, Errc reason) {
  drop(local, remote);
  tell(local, remote, RouteKind::gone, reason);
}

void Router::end_everywhere(const Address& remote, Errc reason) {
  for (const Address& local : locals_with(remote)) end(local, remote, reason);
}

std::vector<Address> Router::locals_with(const Address& remote) const {
  const auto users = remote_.find(remote);
  if (users == remote_.end()) return {};
  return {users->second.begin(), users->second.end()};
}

std::vector<std::pair<Address, Address>> Router::pairs_with(NodeId node) const {
  std::vector<std::pair<Address, Address>> result;
  for (const auto& [local, peers] : pairs_) {
    for (const auto& [remote, pair] : peers) {
      if (pair.node == node) result.emplace_back(local, remote);
    }
  }
  return result;
}

std::set<NodeId> Router::nodes_of(const Address& local) const {
  std::set<NodeId> nodes;
  if (const auto peers = pairs_.find(local); peers != pairs_.end()) {
    for (const auto& [remote, pair] : peers->second) nodes.insert(pair.node);
  }
  nodes.erase(dvs::no_node);
  nodes.erase(self_);
  return nodes;
}

// --- From local endpoints ------------------------------------------------------------------------

void Router::introduce(LocalEndpoint& first, LocalEndpoint& second) {
  first.ring_peers.insert(second.address);
  second.ring_peers.insert(first.address);
  output_.open_ring(first.handle, second.handle, first.uid == second.uid);
}

void Router::on_route_query(LocalEndpoint& local, const Address& peer, TimePoint now) {
  if (local.state != LocalState::active || peer.container != local.address.container ||
      peer == local.address) {
    return;
  }
  if (LocalEndpoint* here = locals_.find(peer); here != nullptr) {
    drop(local.address, peer);
    if (!policy_.may_talk(peer.container, local.principal(), here->principal())) {
      return tell(local.address, peer, RouteKind::gone, Errc::not_permitted);
    }
    if (here->state == LocalState::active) return introduce(local, *here);
    // Frozen or arriving: it will be told when that is decided.
    here->ring_peers.insert(local.address);
    local.ring_peers.insert(peer);
    return tell(local.address, peer, RouteKind::wait);
  }
  if (Pair* known = find(local.address, peer)) {
    known->is_known = true;
    if (known->state == PairState::open) {
      return tell(local.address, peer, RouteKind::relay, {}, known->node, true);
    }
    if (known->state == PairState::frozen) return tell(local.address, peer, RouteKind::wait);
    if (known->state == PairState::locating) return;
    known->hops = 0;
    known->has_located = false;
  }
  NodeId node{};
  switch (status_of(peer, node)) {
    case OpenStatus::moved:
      pairs_[local.address][peer].has_lived = true;
      return open(local, peer, node, now);
    case OpenStatus::dead: return end(local.address, peer, Errc::peer_died);
    default: break;
  }
  bool has_lived = false;
  for (const Address& user : locals_with(peer)) {
    const Pair* pair = find(user, peer);
    has_lived = has_lived || pair->has_lived;
    if (pair->state == PairState::open) node = pair->node;
  }
  pairs_[local.address][peer].has_lived = has_lived;
  if (node == dvs::no_node) node = dvs::birth_node(peer.incarnation);
  if (node == self_) return locate(local, peer, now);
  open(local, peer, node, now);
}

void Router::open(LocalEndpoint& local, const Address& peer, NodeId node, TimePoint now) {
  Pair& pair = pairs_[local.address][peer];
  remote_[peer].insert(local.address);
  pair.node = node;
  pair.state = PairState::opening;
  pair.is_known = true;
  if (++pair.hops > hops_max || lost_.contains(node)) return locate(local, peer, now);
  output_.to_node(node, wire::Open{.from = local.address,
                                   .to = peer,
                                   .from_name = local.name,
                                   .from_uid = local.uid,
                                   .from_moves = local.moves});
}

// The places that could know do not: ask the directory, once.
void Router::locate(LocalEndpoint& local, const Address& peer, TimePoint now) {
  Pair& pair = pairs_[local.address][peer];
  remote_[peer].insert(local.address);
  pair.is_known = true;
  if (dvs::birth_node(peer.incarnation) == self_ && was_given(peer)) pair.has_lived = true;
  if (lost_.contains(dvs::birth_node(peer.incarnation))) pair.is_birth_lost = true;
  if (pair.has_located) return end_unknown(local.address, peer, pair);
  pair.has_located = true;
  pair.node = dvs::no_node;
  pair.state = PairState::locating;
  const std::uint64_t ticket = ticket_bit | next_ticket_++;
  locating_[ticket] = {local.address, peer};
  directory_.locate(ticket, peer, now);
}

// Nobody knows where it is. One that began on a node that was lost may have died with it, or have
// begun since under a new daemon there.
void Router::end_unknown(const Address& local, const Address& remote, const Pair& pair) {
  const Errc doubt = pair.is_birth_lost ? Errc::unreachable : Errc::unknown_endpoint;
  end(local, remote, pair.has_lived ? Errc::peer_died : doubt);
}

void Router::on_located(std::uint64_t ticket, Errc error, NodeId node, TimePoint now) {
  const auto found = locating_.find(ticket);
  if (found == locating_.end()) return;
  const auto [local, remote] = found->second;
  locating_.erase(found);
  LocalEndpoint* endpoint = locals_.find(local);
  Pair* pair = find(local, remote);
  if (endpoint == nullptr || pair == nullptr || pair->state != PairState::locating) return;
  // The directory may not know yet that the node is lost.
  const bool is_unknown =
      error == Errc::unknown_endpoint || (error == Errc{} && lost_.contains(node));
  if (is_unknown) return end_unknown(local, remote, *pair);
  if (error != Errc{}) return end(local, remote, error);
  if (node == self_) {
    drop(local, remote);
    if (locals_.find(remote) != nullptr) return on_route_query(*endpoint, remote, now);
    return tell(local, remote, RouteKind::gone, Errc::peer_died);
  }
  pair->hops = 0;
  open(*endpoint, remote, node, now);
}

void Router::on_packet(const LocalEndpoint& local, PacketHeader header, BytesView payload,
                       TimePoint) {
  if (header.source() != local.address) {
    // From the life before a promotion of which the library has not heard yet: the peer would take
    // its acknowledgements for those of the new one.
    if (ended_.recall(header.source()) != nullptr) return;
    header.set_source(local.address);  // whatever it claims
  }
  const Pair* pair = find(local.address, header.target());
  if (pair == nullptr || pair->state != PairState::open) return;  // it will be told and repeat it
  output_.packet_to_node(pair->node, header, payload);
}

std::optional<NodeId> Router::place_of(const LocalEndpoint& local, const Address& peer) const {
  if (peer == local.address || local.ring_peers.contains(peer)) return self_;
  const auto peers = pairs_.find(local.address);
  if (peers == pairs_.end()) return std::nullopt;
  const auto pair = peers->second.find(peer);
  if (pair == peers->second.end() || pair->second.state != PairState::open) return std::nullopt;
  return pair->second.node;
}

// --- Life of local endpoints ---------------------------------------------------------------------

void Router::on_local_end(const LocalEndpoint& local) {
  ended_.remember(local.address, true);
  moved_out_.forget(local.address);
  end_everywhere(local.address, Errc::peer_died);  // those that looked for it elsewhere
  for (const Address& peer : local.ring_peers) {
    if (LocalEndpoint* other = locals_.find(peer)) other->ring_peers.erase(local.address);
    tell(peer, local.address, RouteKind::gone, Errc::peer_died);
  }
  for (const NodeId node : nodes_of(local.address))
    output_.to_node(node, wire::Gone{local.address});
  const auto peers = pairs_.find(local.address);
  if (peers == pairs_.end()) return;
  std::vector<Address> remotes;
  for (const auto& [remote, pair] : peers->second) remotes.push_back(remote);
  for (const Address& remote : remotes) drop(local.address, remote);
}

void Router::on_local_frozen(LocalEndpoint& local) {
  for (const Address& peer : local.ring_peers) tell(peer, local.address, RouteKind::wait);
}

void Router::on_local_resumed(LocalEndpoint& local) {
  const std::set<Address> peers = local.ring_peers;
  for (const Address& peer : peers) {
    if (LocalEndpoint* other = locals_.find(peer); other != nullptr && other->takes_packets()) {
      introduce(local, *other);
    }
  }
  for (const NodeId node : nodes_of(local.address)) {
    output_.to_node(node, wire::Resumed{local.address});
  }
}

void Router::on_local_moved_out(const LocalEndpoint& local, NodeId node, TimePoint now) {
  moved_out_.remember(local.address, node);
  for (const NodeId other : nodes_of(local.address)) {
    output_.to_node(other, wire::Moved{local.address, node});
  }
  if (const auto peers = pairs_.find(local.address); peers != pairs_.end()) {
    std::vector<Address> remotes;
    for (const auto& [remote, pair] : peers->second) remotes.push_back(remote);
    for (const Address& remote : remotes) drop(local.address, remote);
  }
  for (const Address& peer : local.ring_peers) {
    LocalEndpoint* other = locals_.find(peer);
    if (other == nullptr) continue;
    other->ring_peers.erase(local.address);
    if (other->state != LocalState::active) continue;
    pairs_[other->address][local.address].has_lived = true;
    open(*other, local.address, node, now);
  }
}

// Locals that reached it on another node, or waited for it, now have it beside them.
void Router::on_local_arrived(const LocalEndpoint& local, TimePoint now) {
  moved_out_.forget(local.address);
  std::vector<Address> users = locals_with(local.address);
  users.insert(users.end(), local.ring_peers.begin(), local.ring_peers.end());
  for (const Address& user : users) {
    drop(user, local.address);
    LocalEndpoint* other = locals_.find(user);
    if (other != nullptr) on_route_query(*other, local.address, now);
  }
  // Nodes that came before the decision were told to wait.
  for (const NodeId node : nodes_of(local.address)) {
    output_.to_node(node, wire::Resumed{local.address});
  }
}

// --- From nodes ----------------------------------------------------------------------------------

// What is known here of an address that is not in the table.
wire::OpenStatus Router::status_of(const Address& address, NodeId& node) {
  if (const NodeId* moved = moved_out_.recall(address)) {
    node = *moved;
    return OpenStatus::moved;
  }
  if (ended_.recall(address) != nullptr) return OpenStatus::dead;
  // Begun here under an earlier daemon: it has died with that one, unless it had moved away before.
  if (was_given(address)) node = self_;
  return OpenStatus::unknown;
}

bool Router::was_given(const Address& address) {
  constexpr std::uint64_t serial_mask = (std::uint64_t{1} << dvs::serial_bits) - 1;
  return dvs::birth_node(address.incarnation) == self_ &&
         output_.was_given(dvs::raw(address.incarnation) & serial_mask);
}

void Router::on_packet_from_node(NodeId from, const wire::Packet& packet) {
  const Address source = packet.header.source(), target = packet.header.target();
  LocalEndpoint* local = locals_.find(target);
  if (local == nullptr || source.container != target.container) {
    wire::Opened answer{.from = source, .to = target};
    answer.status = status_of(target, answer.node);
    return output_.to_node(from, answer);
  }
  if (!local->takes_packets()) return;
  const Pair* pair = find(target, source);
  if (pair == nullptr || pair->node != from || pair->state != PairState::open) {
    return output_.to_node(from, wire::Opened{source, target, OpenStatus::reopen, {}});
  }
  output_.to_ring(local->handle, packet.header, packet.payload);
}

void Router::on_open(NodeId from, const wire::Open& message) {
  wire::Opened answer{.from = message.from, .to = message.to};
  LocalEndpoint* local = locals_.find(message.to);
  if (local == nullptr || message.from.container != message.to.container) {
    answer.status = status_of(message.to, answer.node);
    return output_.to_node(from, answer);
  }
  if (!policy_.may_talk(message.to.container, {message.from_name, message.from_uid},
                        local->principal())) {
    answer.status = OpenStatus::not_permitted;
    return output_.to_node(from, answer);
  }
  // Sent by a node that it has left since.
  const LocalEndpoint* neighbour = locals_.find(message.from);
  if (neighbour != nullptr && neighbour->state != LocalState::arriving) return;
  if (const Pair* known = find(message.to, message.from);
      known != nullptr && known->moves > message.from_moves) {
    return;
  }
  // The pair is noted even while frozen, so that its node is told how the move ends.
  Pair& pair = pairs_[message.to][message.from];
  remote_[message.from].insert(message.to);
  const bool is_new_place = pair.node != from || pair.state != PairState::open;
  pair = Pair{.node = from,
              .state = PairState::open,
              .has_lived = true,
              .moves = message.from_moves,
              .is_known = pair.is_known};
  // Once it lived here, and those who still ask here shall be told where it is now.
  if (moved_out_.recall(message.from) != nullptr) moved_out_.remember(message.from, from);
  const bool had_ring = local->ring_peers.erase(message.from) != 0;
  if (local->state == LocalState::active) {
    answer.status = OpenStatus::open;
    if (is_new_place && (pair.is_known || had_ring)) {
      pair.is_known = true;
      tell(message.to, message.from, RouteKind::relay, {}, from, true);
    }
  } else {
    answer.status = OpenStatus::frozen;
  }
  output_.to_node(from, answer);
}

void Router::on_opened(NodeId from, const wire::Opened& message, TimePoint now) {
  LocalEndpoint* local = locals_.find(message.from);
  Pair* pair = find(message.from, message.to);
  if (local == nullptr || pair == nullptr || pair->node != from)
    return;  // an answer to an older question
  if (local->state != LocalState::active) return;
  if (message.status != OpenStatus::unknown && message.status != OpenStatus::not_permitted) {
    pair->has_lived = true;
  }
  switch (message.status) {
    case OpenStatus::open:
      pair->state = PairState::open;
      pair->hops = 0;
      pair->has_located = false;
      return tell(message.from, message.to, RouteKind::relay, {}, from, true);
    case OpenStatus::frozen:
      pair->state = PairState::frozen;
      return tell(message.from, message.to, RouteKind::wait);
    case OpenStatus::moved:
      if (message.node == self_) return locate(*local, message.to, now);
      return open(*local, message.to, message.node, now);
    case OpenStatus::reopen:
      // Every packet of a burst is answered like this; one Open is enough.
      if (pair->state == PairState::opening) return;
      return open(*local, message.to, from, now);
    case OpenStatus::dead: return end(message.from, message.to, Errc::peer_died);
    case OpenStatus::unknown:
      if (message.node != dvs::no_node) pair->has_lived = true;
      return locate(*local, message.to, now);
    case OpenStatus::not_permitted: return end(message.from, message.to, Errc::not_permitted);
  }
}

void Router::on_gone(NodeId from, const wire::Gone& message) {
  for (const Address& local : locals_with(message.who)) {
    if (const Pair* pair = find(local, message.who); pair->node == from) {
      end(local, message.who, Errc::peer_died);
    }
  }
}

void Router::on_moved(NodeId from, const wire::Moved& message, TimePoint now) {
  for (const Address& user : locals_with(message.who)) {
    Pair* pair = find(user, message.who);
    LocalEndpoint* local = locals_.find(user);
    if (local == nullptr || pair->node != from) continue;
    if (local->state != LocalState::active) {
      // It will ask again where it goes on; but those that wait for it there must be told then.
      pair->node = message.node;
      pair->state = PairState::opening;
      continue;
    }
    tell(user, message.who, RouteKind::wait);
    if (message.node == self_) {
      drop(user, message.who);
      on_route_query(*local, message.who, now);
    } else {
      open(*local, message.who, message.node, now);
    }
  }
}

void Router::on_resumed(NodeId from, const wire::Resumed& message, TimePoint now) {
  for (const Address& user : locals_with(message.who)) {
    Pair* pair = find(user, message.who);
    if (pair->node != from) continue;
    if (pair->state == PairState::opening) {  // perhaps it may not talk to it: the answer says
      LocalEndpoint* local = locals_.find(user);
      if (local != nullptr && local->state == LocalState::active)
        open(*local, message.who, from, now);
      continue;
    }
    pair->state = PairState::open;
    tell(user, message.who, RouteKind::relay, {}, pair->node, true);
  }
}

// Also of a daemon that has restarted: it says itself which lives ended with the one before. Some
// may have moved away just before that, and some of its own may be known here already.
void Router::on_link_up(NodeId node, TimePoint now) {
  lost_.erase(node);
  for (const auto& [user, remote] : pairs_with(node)) {
    LocalEndpoint* local = locals_.find(user);
    if (local == nullptr) continue;
    Pair* pair = find(user, remote);
    pair->hops = 0;
    pair->has_located = false;
    open(*local, remote, node, now);
  }
}

void Router::on_link_down(NodeId node) {
  for (const auto& [local, remote] : pairs_with(node)) end(local, remote, Errc::unreachable);
}

// A lost node may be back, and others hear of it before this one has a link to it.
void Router::on_view(const View& view) {
  for (const NodeId member : view.members) lost_.erase(member);
}

// What lived there has ended, unless it had moved away just before: the directory knows.
void Router::on_node_lost(NodeId node, TimePoint now) {
  lost_.insert(node);
  for (const auto& [user, remote] : pairs_with(node)) {
    LocalEndpoint* local = locals_.find(user);
    if (local == nullptr || local->state != LocalState::active) {
      drop(user, remote);  // it will ask again where it goes on
      continue;
    }
    find(user, remote)->has_located = false;
    locate(*local, remote, now);
  }
}

}  // namespace dvk::node
