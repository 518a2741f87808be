#include "dvk/node/copier.hpp"

#include <algorithm>

namespace dvk::node {
namespace {

// Not once it has moved away, nor while it is about to: what is written then would be missing in
// the state that moves.
bool may_be_written(const LocalEndpoint* owner) {
  return owner != nullptr && owner->state != LocalState::frozen;
}

}  // namespace

Copier::Copier(NodeId self, Output& output, LocalTable& locals, Router& router)
    : self_(self), output_(output), locals_(locals), router_(router) {}

void Copier::on_order(const LocalEndpoint& orderer, std::uint64_t token,
                      const wire::CopyOrder& order) {
  const std::uint64_t copy = next_copy_++;
  const auto source_node = router_.place_of(orderer, order.source);
  const auto target_node = router_.place_of(orderer, order.target);
  orders_[copy] = {orderer.handle, token, source_node.value_or(self_), target_node.value_or(self_)};
  if (++orders_of_[orderer.handle] > copies_max) return finish_order(copy, Errc::queue_full);
  if (!source_node || !target_node) return finish_order(copy, Errc::not_ready);
  // Grant 0 stands for the orderer's own memory and for nobody else's.
  const auto is_own_or_granted = [&](const Address& side, std::uint64_t grant) {
    return (grant == 0) == (side == orderer.address);
  };
  if (!is_own_or_granted(order.source, order.source_grant) ||
      !is_own_or_granted(order.target, order.target_grant)) {
    return finish_order(copy, Errc::grant_denied);
  }
  const wire::CopyStart start{.copy = copy,
                              .orderer_node = self_,
                              .orderer = orderer.address,
                              .source = {order.source, order.source_grant, order.source_offset},
                              .target = {order.target, order.target_grant, order.target_offset},
                              .bytes = order.bytes,
                              .source_node = *source_node,
                              .target_node = *target_node};
  // When the bytes come here, this node knows all about them already.
  if (*target_node == self_) {
    const LocalEndpoint* owner = locals_.find(order.target);
    if (owner == nullptr) return finish_order(copy, Errc::peer_died);
    targets_[{self_, copy}] = {start, *source_node, owner->handle, 0};
  }
  if (*source_node == self_) return begin_source(start);
  output_.to_node(*source_node, start);
}

void Copier::on_start(NodeId from, const wire::CopyStart& start) {
  if (start.orderer_node == self_) return;  // knows its own orders
  if (start.source_node == self_) {
    if (start.orderer_node == from) begin_source(start);
  } else if (start.target_node == self_ && start.source_node == from) {
    begin_target(from, start);
  }
}

// From the source's node, ahead of the bytes.
void Copier::begin_target(NodeId from, const wire::CopyStart& start) {
  const Key key{start.orderer_node, start.copy};
  if (const auto stopped = stopped_.find(start.orderer_node);
      stopped != stopped_.end() && stopped->second.recall(start.copy) != nullptr) {
    return stopped->second.forget(start.copy);
  }
  const LocalEndpoint* owner = locals_.find(start.target.endpoint);
  if (owner == nullptr) return finish(key, Errc::peer_died);
  targets_[key] = {start, from, owner->handle, 0};
}

void Copier::begin_source(const wire::CopyStart& start) {
  const Key key{start.orderer_node, start.copy};
  const LocalEndpoint* owner = locals_.find(start.source.endpoint);
  if (owner == nullptr) return finish(key, Errc::peer_died);
  if (start.target_node != self_ && start.target_node != start.orderer_node) {
    output_.copy_start_to_node(start.target_node, start);
  } else if (start.target_node == self_ && start.orderer_node != self_) {
    const LocalEndpoint* target = locals_.find(start.target.endpoint);
    if (target == nullptr) return finish(key, Errc::peer_died);
    targets_[key] = {start, self_, target->handle, 0};
  }
  sources_[key] = {start, owner->handle, 0};
}

bool Copier::work() {
  unsigned moved = 0;
  std::size_t blocked = 0;
  while (!sources_.empty() && moved < messages_per_work && blocked < sources_.size()) {
    auto next = sources_.upper_bound(last_worked_);
    if (next == sources_.end()) next = sources_.begin();
    last_worked_ = next->first;
    if (locals_.find(next->second.owner) == nullptr) {
      advance(next->first, 0, dvs::fail(Errc::unreachable));  // it moved away
    } else if (next->second.start.target_node == self_) {
      copy_here(next);
    } else if (!send_message(next)) {
      ++blocked;
      continue;
    }
    ++moved;
    blocked = 0;
  }
  return !sources_.empty() && blocked < sources_.size();
}

std::size_t Copier::next_bytes(const Source& source) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(piece_bytes, source.start.bytes - source.position));
}

// Sends one piece of this copy, and of those behind it that go to the same node as long as the
// message is not full. False: the lane has no room.
bool Copier::send_message(Sources::iterator first) {
  const NodeId node = first->second.start.target_node;
  if (!output_.has_bulk_room(node)) return false;
  std::vector<PieceToSend> pieces;
  std::size_t room = piece_bytes;
  for (auto it = first; it != sources_.end() && pieces.size() < pieces_per_message; ++it) {
    const auto& [key, source] = *it;
    const std::size_t bytes = next_bytes(source);
    const bool is_like_first = source.start.target_node == node && locals_.find(source.owner);
    if (!is_like_first || bytes > room) break;
    room -= bytes;
    pieces.push_back({{.copy = source.start.copy,
                       .position = source.position,
                       .bytes = static_cast<std::uint32_t>(bytes),
                       .orderer_node = dvs::raw(source.start.orderer_node)},
                      {source.owner, source.start.orderer, source.start.source, source.position}});
    last_worked_ = key;
  }
  output_.send_pieces(node, pieces);
  for (const PieceToSend& piece : pieces) {
    advance({NodeId{piece.head.orderer_node}, piece.head.copy}, piece.head.bytes, piece.result);
  }
  return true;
}

void Copier::copy_here(Sources::iterator source) {
  const std::size_t bytes = next_bytes(source->second);
  advance(source->first, bytes, copy_piece_here(source->second, bytes));
}

// Both sides on this node, but not in one trust domain: by way of this process.
Result<void> Copier::copy_piece_here(const Source& source, std::size_t bytes) {
  const wire::CopyStart& start = source.start;
  const LocalEndpoint* target = locals_.find(start.target.endpoint);
  if (!may_be_written(target)) return dvs::fail(Errc::unreachable);
  std::byte memory[piece_bytes];
  const std::span<std::byte> view(memory, bytes);
  DVS_CHECK(
      output_.read_memory({source.owner, start.orderer, start.source, source.position}, view));
  PieceToWrite piece{{target->handle, start.orderer, start.target, source.position}, view};
  output_.write_pieces({&piece, 1});
  return piece.result;
}

// So many bytes more have left the source, or could not.
void Copier::advance(Key key, std::size_t bytes, const Result<void>& result) {
  const auto found = sources_.find(key);
  Source& source = found->second;
  source.position += bytes;
  if (result && source.position < source.start.bytes) return;
  const NodeId target_node = source.start.target_node;
  sources_.erase(found);
  if (target_node == self_) {
    targets_.erase(key);
  } else if (result) {
    if (key.first != self_) sent_[key] = target_node;
    return;  // the target tells the end
  }
  finish(key, result ? Errc{} : result.error().code);
}

void Copier::on_data(NodeId from, std::span<const wire::CopyPiece> pieces) {
  std::vector<PieceToWrite> writes;
  std::vector<const wire::CopyDataHead*> heads;  // one for each
  const auto key_of = [](const wire::CopyDataHead& head) {
    return Key{NodeId{head.orderer_node}, head.copy};
  };
  const auto end = [&](const Key key, Errc error) {  // by value: it erases where it may lie
    if (targets_.erase(key) != 0) finish(key, error);
  };
  for (const auto& [head, bytes] : pieces) {
    const auto found = targets_.find(key_of(head));
    if (found == targets_.end() || found->second.source_node != from) continue;  // ended meanwhile
    Target& target = found->second;
    const wire::CopyStart& start = target.start;
    if (!may_be_written(locals_.find(target.owner))) {
      end(found->first, Errc::unreachable);
    } else if (head.position != target.position || bytes.size() > start.bytes - head.position) {
      end(found->first, Errc::protocol_violation);
    } else {
      writes.push_back({{target.owner, start.orderer, start.target, head.position}, bytes});
      heads.push_back(&head);
      target.position += bytes.size();
    }
  }
  output_.write_pieces(writes);
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const Key key = key_of(*heads[i]);
    const auto found = targets_.find(key);
    if (found == targets_.end()) continue;  // an earlier piece of it has failed
    const bool is_last = heads[i]->position + heads[i]->bytes == found->second.start.bytes;
    if (!writes[i].result) {
      end(key, writes[i].result.error().code);
    } else if (is_last) {
      end(key, Errc{});
    }
  }
}

// The copy has ended here: for the orderer's node, wherever that is.
void Copier::finish(const Key& key, Errc error) {
  if (key.first == self_) return finish_order(key.second, error);
  output_.to_node(key.first, wire::CopyEnd{key.second, key.first, error});
}

void Copier::finish_order(std::uint64_t copy, Errc error) {
  const auto found = orders_.find(copy);
  if (found == orders_.end()) return;
  const Order order = found->second;
  orders_.erase(found);
  if (--orders_of_[order.orderer] == 0) orders_of_.erase(order.orderer);
  const Key key{self_, copy};
  targets_.erase(key);
  sources_.erase(key);
  // A side that has not ended yet need not go on, and the source watches over what it has sent.
  const bool is_watched = order.source_node != order.target_node;
  std::set<NodeId> nodes;
  if (error != Errc{} || is_watched) nodes.insert(order.source_node);
  if (error != Errc{}) nodes.insert(order.target_node);
  nodes.erase(self_);
  for (const NodeId node : nodes) output_.to_node(node, wire::CopyEnd{copy, self_, error});
  answer(order.orderer, order.token, error);
}

void Copier::refuse(Handle orderer, std::uint64_t token, Errc error) {
  answer(orderer, token, error);
}

void Copier::answer(Handle orderer, std::uint64_t token, Errc error) {
  PacketHeader header;
  header.kind = wire::PacketKind::copy_result;
  header.token = token;
  const Bytes payload = wire::encode_fields(wire::CopyOutcome{error});
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  output_.to_ring(orderer, header, payload);
}

void Copier::on_end(NodeId from, const wire::CopyEnd& end) {
  if (end.orderer_node == self_) {
    const auto order = orders_.find(end.copy);
    const bool takes_part = order != orders_.end() && (order->second.source_node == from ||
                                                       order->second.target_node == from);
    if (takes_part) finish_order(end.copy, end.error);
    return;
  }
  if (end.orderer_node != from) return;
  const Key key{from, end.copy};
  const std::size_t ended = sources_.erase(key) + targets_.erase(key) + sent_.erase(key);
  if (ended == 0 && end.error != Errc{}) stopped_[from].remember(end.copy, true);
}

void Copier::on_local_end(Handle handle) {
  std::vector<Key> failed;
  for (const auto& [key, source] : sources_) {
    if (source.owner == handle) failed.push_back(key);
  }
  for (const auto& [key, target] : targets_) {
    if (target.owner == handle) failed.push_back(key);
  }
  for (const Key& key : failed) {
    sources_.erase(key);
    targets_.erase(key);
    finish(key, Errc::peer_died);
  }
  std::vector<std::uint64_t> ordered;
  for (const auto& [copy, order] : orders_) {
    if (order.orderer == handle) ordered.push_back(copy);
  }
  for (const std::uint64_t copy : ordered) finish_order(copy, Errc::peer_died);
}

void Copier::on_node_broken(NodeId node, Errc reason, bool goes_on) {
  stopped_.erase(node);
  std::vector<std::uint64_t> broken;
  for (const auto& [copy, order] : orders_) {
    if (order.source_node == node || order.target_node == node) broken.push_back(copy);
  }
  for (const std::uint64_t copy : broken) finish_order(copy, reason);
  // Copies of others: their orderer's node notices for itself if it is the one that broke, and is
  // told otherwise.
  std::vector<Key> others;
  for (const auto& [key, source] : sources_) {
    if (key.first == node || source.start.target_node == node) others.push_back(key);
  }
  for (const auto& [key, target] : targets_) {
    if (key.first == node || target.source_node == node) others.push_back(key);
  }
  for (const auto& [key, target_node] : sent_) {
    if (key.first == node || target_node == node) others.push_back(key);
  }
  for (const Key& key : others) {
    sources_.erase(key);
    sent_.erase(key);
    targets_.erase(key);
    if (key.first != node || goes_on) finish(key, reason);
  }
}

}  // namespace dvk::node
