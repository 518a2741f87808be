#include "dvk/node/mover.hpp"

#include <algorithm>

namespace dvk::node {

Mover::Mover(NodeId self, Output& output, LocalTable& locals, Directory& directory, Router& router)
    : self_(self), output_(output), locals_(locals), directory_(directory), router_(router) {}

// --- Source --------------------------------------------------------------------------------------

void Mover::on_move_out(LocalEndpoint& local, NodeId target, BytesView state, const View& view,
                        TimePoint now) {
  if (local.state != LocalState::active && local.state != LocalState::registering) return;
  const auto refuse = [&](Errc error, std::string detail) {
    output_.to_process(local.handle, wire::MoveResult{error, std::move(detail)});
    // It has been frozen, and deaf to news of routes, since before it asked.
    if (local.state == LocalState::active) router_.on_local_resumed(local);
  };
  if (local.state == LocalState::registering) {
    return refuse(Errc::not_ready, "the endpoint is being promoted");
  }
  if (local.is_backup) return refuse(Errc::invalid_argument, "a backup cannot be moved");
  if (target == self_)
    return refuse(Errc::invalid_argument, "the endpoint is on that node already");
  if (!view.contains(target)) {
    return refuse(Errc::invalid_argument,
                  "node " + std::to_string(dvs::raw(target)) + " is not a member of the cluster");
  }
  if (state.size() > state_bytes_max)
    return refuse(Errc::message_too_large, "state of the endpoint");
  local.state = LocalState::frozen;
  router_.on_local_frozen(local);
  const std::uint64_t move = output_.fresh_serial();
  Outgoing& outgoing = outgoing_[move];
  outgoing = {local.handle, target, dvs::to_bytes(state), 0, now + give_up_after};
  send_piece(move, outgoing);
}

void Mover::send_piece(std::uint64_t move, Outgoing& outgoing) {
  const LocalEndpoint* local = locals_.find(outgoing.handle);
  const std::size_t bytes = std::min(piece_bytes, outgoing.state.size() - outgoing.sent);
  const BytesView piece = BytesView(outgoing.state).subspan(outgoing.sent, bytes);
  outgoing.sent += bytes;
  output_.to_node(outgoing.target, wire::MovePrepare{.move = move,
                                                     .address = local->address,
                                                     .name = local->name,
                                                     .uid = local->uid,
                                                     .moves = local->moves,
                                                     .total_bytes = outgoing.state.size(),
                                                     .piece = dvs::to_bytes(piece)});
}

void Mover::on_more(NodeId from, const wire::MoveMore& message) {
  const auto found = outgoing_.find(message.move);
  if (found == outgoing_.end() || found->second.target != from) return;
  Outgoing& outgoing = found->second;
  if (message.received_bytes == outgoing.sent && outgoing.sent < outgoing.state.size()) {
    send_piece(message.move, outgoing);
  }
}

void Mover::on_move_cancel(const LocalEndpoint& local) {
  for (const auto& [move, outgoing] : outgoing_) {
    if (outgoing.handle == local.handle) {
      return abort(move, Errc::cancelled, "the move was cancelled");
    }
  }
}

// The endpoint stays here: tells the target and wakes the process.
void Mover::abort(std::uint64_t move, Errc reason, const std::string& detail) {
  const auto found = outgoing_.find(move);
  if (found == outgoing_.end()) return;
  const Outgoing outgoing = std::move(found->second);
  outgoing_.erase(found);
  output_.to_node(outgoing.target, wire::MoveDecision{move, false});
  LocalEndpoint* local = locals_.find(outgoing.handle);
  if (local == nullptr) return;
  local->state = LocalState::active;
  output_.to_process(local->handle, wire::MoveResult{reason, detail});
  router_.on_local_resumed(*local);
}

void Mover::on_ready(NodeId from, const wire::MoveReady& message, TimePoint now) {
  const auto found = outgoing_.find(message.move);
  if (found == outgoing_.end() || found->second.target != from) return;
  if (message.error != Errc{}) {
    return abort(message.move, message.error, "the target could not take the endpoint over");
  }
  if (found->second.sent != found->second.state.size()) return;
  // The point of no return.
  const Handle handle = found->second.handle;
  outgoing_.erase(found);
  decisions_.remember(message.move, true);
  output_.to_node(from, wire::MoveDecision{message.move, true});
  LocalEndpoint* local = locals_.find(handle);
  output_.to_process(handle, wire::MoveResult{});
  const LocalEndpoint moved = *local;
  locals_.remove(handle);
  std::erase_if(given_, [&](const auto& item) { return item.second.address == moved.address; });
  given_[message.move] = {moved.address, from};
  if (moved.is_in_directory) directory_.keep(moved.directory_entry());
  router_.on_local_moved_out(moved, from, now);
}

void Mover::on_query(NodeId from, const wire::MoveQuery& message) {
  if (outgoing_.contains(message.move)) return;  // undecided: MoveReady comes, or came, behind this
  output_.to_node(from,
                  wire::MoveDecision{message.move, decisions_.recall(message.move) != nullptr});
}

void Mover::on_settled(NodeId from, const wire::MoveSettled& message) {
  const auto found = given_.find(message.move);
  if (found == given_.end() || found->second.target != from) return;
  const Address address = found->second.address;
  given_.erase(found);
  directory_.release(address);
}

// Their lives have ended with the node, or go on where they went from there.
void Mover::release_given_to(NodeId node) {
  std::vector<Address> released;
  for (const auto& [move, given] : given_) {
    if (given.target == node) released.push_back(given.address);
  }
  std::erase_if(given_, [&](const auto& item) { return item.second.target == node; });
  for (const Address& address : released) directory_.release(address);
}

// --- Target --------------------------------------------------------------------------------------

void Mover::on_prepare(NodeId from, const wire::MovePrepare& message, TimePoint now) {
  const Key key{from, message.move};
  if (message.total_bytes > state_bytes_max) {
    return output_.to_node(from, wire::MoveReady{message.move, Errc::message_too_large});
  }
  Arrival& arrival = arrivals_[key];
  if (arrival.state.empty()) {
    arrival = {.source = from,
               .address = message.address,
               .name = message.name,
               .uid = message.uid,
               .moves = message.moves,
               .total_bytes = message.total_bytes,
               .state = {}};
  }
  if (arrival.state.size() + message.piece.size() > arrival.total_bytes) {
    drop_arrival(key, now);
    return output_.to_node(from, wire::MoveReady{message.move, Errc::protocol_violation});
  }
  arrival.state.insert(arrival.state.end(), message.piece.begin(), message.piece.end());
  if (!arrival.is_complete()) {
    return output_.to_node(from, wire::MoveMore{message.move, arrival.state.size()});
  }
  match(key, arrival);
}

// Only the same user, or root, in the same container may take an endpoint over.
bool Mover::may_adopt(const LocalEndpoint& adopter, ContainerId container, const Arrival& arrival) {
  return container == arrival.address.container && (adopter.uid == arrival.uid || adopter.uid == 0);
}

// Looks for an adopter that waits for this arrival.
void Mover::match(const Key& key, Arrival& arrival) {
  for (const auto& [handle, wish] : wishes_) {
    const bool is_meant =
        wish.name.empty() ? wish.address == arrival.address : wish.name == arrival.name;
    LocalEndpoint* adopter = locals_.find(handle);
    if (!is_meant || !may_adopt(*adopter, wish.container, arrival)) continue;
    wishes_.erase(handle);
    return hand_over(key, arrival, *adopter);
  }
}

void Mover::on_adopt(LocalEndpoint& adopter, const std::string& name, const Address& address) {
  const ContainerId container = adopter.address.container;
  locals_.set_address(adopter, {});
  adopter.state = LocalState::waiting;
  for (auto& [key, arrival] : arrivals_) {
    const bool is_meant = name.empty() ? address == arrival.address : name == arrival.name;
    if (is_meant && arrival.is_complete() && arrival.adopter == Handle{} &&
        may_adopt(adopter, container, arrival)) {
      return hand_over(key, arrival, adopter);
    }
  }
  wishes_[adopter.handle] = {container, name, address};
}

void Mover::hand_over(const Key&, Arrival& arrival, LocalEndpoint& adopter) {
  arrival.adopter = adopter.handle;
  // It may have lived here before and left: there is no other entry of that address then.
  locals_.set_address(adopter, arrival.address);
  adopter.name = arrival.name;
  adopter.moves = arrival.moves + 1;
  adopter.state = LocalState::arriving;
  adopter.is_in_directory = true;
  output_.to_process(adopter.handle, wire::Welcome{arrival.address, self_, arrival.state.size()},
                     arrival.state);
}

void Mover::on_adopt_ready(const LocalEndpoint& adopter) {
  for (auto& [key, arrival] : arrivals_) {
    if (arrival.adopter != adopter.handle || arrival.is_ready) continue;
    arrival.is_ready = true;
    output_.to_node(key.first, wire::MoveReady{key.second, Errc{}});
    return;
  }
}

void Mover::on_decision(NodeId from, const wire::MoveDecision& message, TimePoint now) {
  const Key key{from, message.move};
  const auto found = arrivals_.find(key);
  if (found == arrivals_.end()) {
    // Said again after a lost session.
    const bool is_settling =
        std::ranges::any_of(settling_, [&](const auto& item) { return item.second == key; });
    if (message.is_commit && !is_settling) output_.to_node(from, wire::MoveSettled{message.move});
    return;
  }
  if (!message.is_commit) return drop_arrival(key, now);
  const Arrival arrival = std::move(found->second);
  arrivals_.erase(found);
  LocalEndpoint* local = locals_.find(arrival.adopter);
  if (local == nullptr) {
    // Its new process died while the decision was under way: the endpoint ends here.
    LocalEndpoint ended{.address = arrival.address, .name = arrival.name};
    router_.on_local_end(ended);
    register_arrival(key, {arrival.address, arrival.name, false, arrival.moves + 1}, now);
    directory_.unregister(arrival.address, arrival.moves + 1);
    return;
  }
  local->state = LocalState::active;
  output_.to_process(local->handle, wire::MoveResult{});
  register_arrival(key, local->directory_entry(), now);
  router_.on_local_arrived(*local, now);
}

void Mover::register_arrival(const Key& key, const wire::DirectoryEntry& entry, TimePoint now) {
  const std::uint64_t ticket = ticket_bit | next_ticket_++;
  settling_[ticket] = key;
  directory_.register_endpoint(ticket, entry, Directory::Purpose::move, now);
}

// Whatever the answer is: what this node reports says the rest.
void Mover::on_registered(std::uint64_t ticket) {
  const auto found = settling_.find(ticket);
  const Key key = found->second;
  settling_.erase(found);
  output_.to_node(key.first, wire::MoveSettled{key.second});
}

void Mover::drop_arrival(const Key& key, TimePoint now) {
  const auto found = arrivals_.find(key);
  if (found == arrivals_.end()) return;
  LocalEndpoint* adopter = locals_.find(found->second.adopter);
  arrivals_.erase(found);
  if (adopter == nullptr) return;
  router_.on_local_moved_out(*adopter, key.first, now);  // those that wait here find it there
  adopter->ring_peers.clear();
  locals_.set_address(*adopter, {});
  adopter->state = LocalState::waiting;
  adopter->is_in_directory = false;
  adopter->moves = 0;
  output_.to_process(adopter->handle,
                     wire::MoveResult{Errc::cancelled, "the source kept the endpoint"});
}

// --- Both ----------------------------------------------------------------------------------------

bool Mover::on_local_closed(const LocalEndpoint& local, TimePoint now) {
  wishes_.erase(local.handle);
  for (auto& [key, arrival] : arrivals_) {
    if (arrival.adopter != local.handle) continue;
    // If the source has committed meanwhile its decision finds no adopter, and the endpoint ends
    // then.
    arrival.adopter = Handle{};
    router_.on_local_moved_out(local, key.first, now);
    output_.to_node(key.first, wire::MoveReady{key.second, Errc::peer_died});
    return true;
  }
  for (const auto& [move, outgoing] : outgoing_) {
    if (outgoing.handle != local.handle) continue;
    output_.to_node(outgoing.target, wire::MoveDecision{move, false});
    outgoing_.erase(move);
    return false;
  }
  return local.state == LocalState::waiting;
}

void Mover::on_link_up(NodeId node, bool has_restarted, TimePoint now) {
  if (has_restarted) return on_node_lost(node, now);
  on_link_down(node, now);  // what was under way in the session before may be lost
  for (const auto& [key, arrival] : arrivals_) {
    if (key.first == node) output_.to_node(node, wire::MoveQuery{key.second});
  }
  for (const auto& [move, given] : given_) {
    if (given.target == node) output_.to_node(node, wire::MoveDecision{move, true});
  }
}

void Mover::on_link_down(NodeId node, TimePoint now) {
  std::vector<std::uint64_t> moves;
  for (const auto& [move, outgoing] : outgoing_) {
    if (outgoing.target == node) moves.push_back(move);
  }
  for (const std::uint64_t move : moves) {
    abort(move, Errc::unreachable, "the link to the target was lost");
  }
  drop_arrivals_from(node, false, now);
}

void Mover::on_node_lost(NodeId node, TimePoint now) {
  on_link_down(node, now);
  drop_arrivals_from(node, true, now);
  release_given_to(node);
}

// Those that are ready may have been committed: only the source, or its loss, ends them.
void Mover::drop_arrivals_from(NodeId node, bool also_ready, TimePoint now) {
  std::vector<Key> keys;
  for (const auto& [key, arrival] : arrivals_) {
    if (key.first == node && (also_ready || !arrival.is_ready)) keys.push_back(key);
  }
  std::ranges::for_each(keys, [&](const Key& key) { drop_arrival(key, now); });
}

void Mover::on_tick(TimePoint now) {
  std::vector<std::uint64_t> due;
  for (const auto& [move, outgoing] : outgoing_) {
    if (outgoing.give_up_at <= now) due.push_back(move);
  }
  for (const std::uint64_t move : due) {
    abort(move, Errc::deadline, "no process on the target adopted the endpoint in time");
  }
}

TimePoint Mover::next_deadline() const {
  TimePoint deadline = dvs::never;
  for (const auto& [move, outgoing] : outgoing_) {
    deadline = std::min(deadline, outgoing.give_up_at);
  }
  return deadline;
}

}  // namespace dvk::node
