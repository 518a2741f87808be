// Copies between the memories of two endpoints, ordered by either of them or by a third.
//
// The orderer's node finds out where both sides are. The source's node reads piece by piece and
// sends to the target's node on the bulk lane as far as that has room; the target's node writes and
// reports the end to the orderer's node. Grants are checked before every piece by the node that
// hosts the memory.
#pragma once

#include <map>

#include "dvk/node/local_table.hpp"
#include "dvk/node/output.hpp"
#include "dvk/node/router.hpp"

namespace dvk::node {

class Copier {
 public:
  Copier(NodeId self, Output& output, LocalTable& locals, Router& router);

  // An order from a local endpoint; answered by a copy_result packet with the same token. Errors:
  // not_ready (no open conversation with a side: ask for its route first), grant_denied,
  // grant_revoked, bad_address, peer_died, queue_full; unreachable: a link was lost, or a side
  // moved away meanwhile.
  void on_order(const LocalEndpoint& orderer, std::uint64_t token, const wire::CopyOrder& order);
  // The order of an endpoint that may not order now.
  void refuse(Handle orderer, std::uint64_t token, Errc error);
  void on_local_end(Handle handle);

  void on_start(NodeId from, const wire::CopyStart& start);
  void on_data(NodeId from, std::span<const wire::CopyPiece> pieces);
  void on_end(NodeId from, const wire::CopyEnd& end);
  // What was under way with the node is lost. If it is the same daemon in a new session
  // (`goes_on`), it may not know: one side alone can see a session of the bulk lane break.
  void on_node_broken(NodeId node, Errc reason, bool goes_on = false);

  // Moves bytes, so many at most; true: more can be moved at once.
  bool work();

  static constexpr std::size_t piece_bytes = 128 * 1024;
  // Pieces that go in one message to a node, of different copies, together piece_bytes at most.
  static constexpr std::size_t pieces_per_message = 64;
  static constexpr unsigned messages_per_work = 8;
  static constexpr unsigned copies_max = 1024;  // under way per orderer; more are queue_full

 private:
  using Key = std::pair<NodeId, std::uint64_t>;  // orderer's node and its copy number
  struct Order {
    Handle orderer{};
    std::uint64_t token = 0;
    NodeId source_node{}, target_node{};
  };
  struct Source {
    wire::CopyStart start;
    Handle owner{};
    std::uint64_t position = 0;
  };
  struct Target {
    wire::CopyStart start;
    NodeId source_node{};
    Handle owner{};
    std::uint64_t position = 0;
  };

  using Sources = std::map<Key, Source>;

  void begin_source(const wire::CopyStart& start);
  void begin_target(NodeId from, const wire::CopyStart& start);
  static std::size_t next_bytes(const Source& source);
  bool send_message(Sources::iterator first);
  void copy_here(Sources::iterator source);
  Result<void> copy_piece_here(const Source& source, std::size_t bytes);
  void advance(Key key, std::size_t bytes, const Result<void>& result);
  void finish(const Key& key, Errc error);
  void answer(Handle orderer, std::uint64_t token, Errc error);
  void finish_order(std::uint64_t copy, Errc error);

  NodeId self_;
  Output& output_;
  LocalTable& locals_;
  Router& router_;
  std::map<std::uint64_t, Order> orders_;
  std::map<Handle, unsigned> orders_of_;
  Sources sources_;
  std::map<Key, Target> targets_;
  // Wholly on the way to a node: should that be lost with the session, only this node can know.
  std::map<Key, NodeId> sent_;
  // Ended before their beginning was here, which comes on another lane. By orderer's node.
  std::map<NodeId, Memory<std::uint64_t, bool, 4096>> stopped_;
  Key last_worked_{};  // round robin over sources_
  std::uint64_t next_copy_ = 1;
};

}  // namespace dvk::node
