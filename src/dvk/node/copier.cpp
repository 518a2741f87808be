#include "dvk/node/copier.hpp"

#include <algorithm>

namespace dvk::node {

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
  while (!sources_.empty() && moved < pieces_per_work && blocked < sources_.size()) {
    auto next = sources_.upper_bound(last_worked_);
    if (next == sources_.end()) next = sources_.begin();
    last_worked_ = next->first;
    if (move_piece(next->first, next->second)) {
      ++moved;
      blocked = 0;
    } else {
      ++blocked;
    }
  }
  return !sources_.empty() && blocked < sources_.size();
}

// Moves one piece of one copy. False: the lane has no room. May end the copy and erase `source`.
bool Copier::move_piece(const Key& key, Source& source) {
  const wire::CopyStart& start = source.start;
  const auto bytes =
      static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, start.bytes - source.position));
  const bool is_last = source.position + bytes == start.bytes;
  Result<void> result;
  if (locals_.find(source.owner) == nullptr) {
    const Key done = key;
    sources_.erase(done);
    finish(done, Errc::unreachable);  // it moved away
    return true;
  }
  if (start.target_node == self_) {
    result = copy_here(source, bytes);
    if (!result || is_last) {
      const Key done = key;
      const Errc error = result ? Errc{} : result.error().code;
      sources_.erase(done);
      targets_.erase(done);
      finish(done, error);
      return true;
    }
  } else {
    if (!output_.has_bulk_room(start.target_node)) return false;
    const wire::CopyDataHead head{.copy = start.copy,
                                  .position = source.position,
                                  .orderer_node = dvs::raw(start.orderer_node),
                                  .is_last = is_last};
    result = output_.copy_data_to_node(start.target_node, head, source.owner, start.orderer,
                                       start.source, source.position, bytes);
    if (!result || is_last) {
      const Key done = key;
      const Errc error = result ? Errc{} : result.error().code;
      if (error == Errc{} && key.first != self_) sent_[key] = start.target_node;
      sources_.erase(done);
      if (error != Errc{}) finish(done, error);
      return true;
    }
  }
  source.position += bytes;
  return true;
}

// Both sides on this node, but not in one trust domain: by way of this process.
Result<void> Copier::copy_here(Source& source, std::size_t bytes) {
  const wire::CopyStart& start = source.start;
  const LocalEndpoint* target = locals_.find(start.target.endpoint);
  if (target == nullptr) return dvs::fail(Errc::unreachable);  // it moved away
  std::byte piece[piece_bytes];
  const std::span<std::byte> view(piece, bytes);
  DVS_CHECK(output_.read_memory(source.owner, start.orderer, start.source, source.position, view));
  return output_.write_memory(target->handle, start.orderer, start.target, source.position, view);
}

void Copier::on_data(NodeId from, const wire::CopyDataHead& head, BytesView data) {
  const Key key{NodeId{head.orderer_node}, head.copy};
  const auto found = targets_.find(key);
  if (found == targets_.end() || found->second.source_node != from) return;  // ended meanwhile
  Target& target = found->second;
  const wire::CopyStart& start = target.start;
  const bool is_in_place =
      head.position == target.position && data.size() <= start.bytes - target.position;
  Result<void> result;
  if (locals_.find(target.owner) == nullptr) {
    result = dvs::fail(Errc::unreachable);  // it moved away
  } else if (!is_in_place) {
    result = dvs::fail(Errc::protocol_violation);
  } else {
    result = output_.write_memory(target.owner, start.orderer, start.target, head.position, data);
  }
  target.position += data.size();
  if (result && target.position < start.bytes) return;
  targets_.erase(found);
  finish(key, result ? Errc{} : result.error().code);
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
