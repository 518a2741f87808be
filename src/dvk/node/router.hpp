// Conversations that leave the node: where each remote endpoint lives, which local ones talk to it,
// and what to tell them when that changes. Local pairs are only introduced to each other here.
//
// State per pair (local, remote); a pair exists on both nodes once opened, so each node knows whom
// to tell when an endpoint of its own ends or moves. Nothing is forwarded: a packet for an endpoint
// that is not here is answered with where it is, and its sender's library repeats it there.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "dvk/node/directory.hpp"
#include "dvk/node/local_table.hpp"
#include "dvk/node/output.hpp"

namespace dvk::node {

class Router {
 public:
  Router(NodeId self, Output& output, LocalTable& locals, Directory& directory,
         const Policy& policy);

  // --- From local endpoints ---
  void on_route_query(LocalEndpoint& local, const Address& peer, TimePoint now);
  void on_packet(const LocalEndpoint& local, PacketHeader header, BytesView payload, TimePoint now);
  // The node an open conversation of `local` with `peer` leads to; the own node for a local peer.
  std::optional<NodeId> place_of(const LocalEndpoint& local, const Address& peer) const;

  // The same, only if that is another node.
  std::optional<NodeId> remote_place_of(const LocalEndpoint& local, const Address& peer) const {
    const auto node = place_of(local, peer);
    return node && *node != self_ ? node : std::nullopt;
  }

  // --- Life of local endpoints ---
  void on_local_end(const LocalEndpoint& local);
  void on_local_frozen(LocalEndpoint& local);
  // It takes packets (again): a move was given up, or its address is sure now.
  void on_local_resumed(LocalEndpoint& local);
  // It lives on `node`; the entry is about to leave the table, or to lose this address.
  void on_local_moved_out(const LocalEndpoint& local, NodeId node, TimePoint now);
  void on_local_arrived(const LocalEndpoint& local, TimePoint now);

  // --- From nodes ---
  void on_packet_from_node(NodeId from, const wire::Packet& packet);
  void on_open(NodeId from, const wire::Open& message);
  void on_opened(NodeId from, const wire::Opened& message, TimePoint now);
  void on_gone(NodeId from, const wire::Gone& message);
  void on_moved(NodeId from, const wire::Moved& message, TimePoint now);
  void on_resumed(NodeId from, const wire::Resumed& message, TimePoint now);
  void on_link_up(NodeId node, TimePoint now);
  void on_link_down(NodeId node);
  void on_node_lost(NodeId node, TimePoint now);
  void on_view(const View& view);
  // The answer to a locate whose ticket owns_ticket.
  bool owns_ticket(std::uint64_t ticket) const { return locating_.contains(ticket); }
  void on_located(std::uint64_t ticket, Errc error, NodeId node, TimePoint now);

  static constexpr std::uint64_t ticket_bit = std::uint64_t{1} << 63;

 private:
  enum class PairState : std::uint8_t { opening, locating, frozen, open };
  struct Pair {
    NodeId node{};
    PairState state{};
    unsigned hops = 0;           // places asked since the query, so that a circle ends
    bool has_located = false;    // the directory was asked already
    bool has_lived = false;      // the node where its life began says so
    bool is_birth_lost = false;  // that node was lost when it should have been asked
    std::uint64_t moves = 0;     // of the remote one, when its node opened the pair
    bool is_known = false;       // the local library uses this route: tell it of every change
  };
  using Peers = std::map<Address, Pair>;  // by remote address

  Pair* find(const Address& local, const Address& remote);
  void introduce(LocalEndpoint& first, LocalEndpoint& second);
  void open(LocalEndpoint& local, const Address& peer, NodeId node, TimePoint now);
  void locate(LocalEndpoint& local, const Address& peer, TimePoint now);
  void tell(const Address& local, const Address& peer, wire::RouteKind kind, Errc error = {},
            NodeId node = {}, bool is_reset = false);
  void drop(const Address& local, const Address& remote);
  void end(const Address& local, const Address& remote, Errc reason);
  void end_unknown(const Address& local, const Address& remote, const Pair& pair);
  void end_everywhere(const Address& remote, Errc reason);
  bool was_given(const Address& address);
  wire::OpenStatus status_of(const Address& address, NodeId& node);
  std::vector<Address> locals_with(const Address& remote) const;
  std::vector<std::pair<Address, Address>> pairs_with(NodeId node) const;
  std::set<NodeId> nodes_of(const Address& local) const;

  NodeId self_;
  Output& output_;
  LocalTable& locals_;
  Directory& directory_;
  const Policy& policy_;
  std::map<Address, Peers> pairs_;               // by local address
  std::map<Address, std::set<Address>> remote_;  // remote address -> locals with a pair
  Memory<Address, NodeId> moved_out_;            // endpoints that lived here
  std::set<NodeId> lost_;                        // nodes that the cluster declared lost
  Memory<Address, bool> ended_;                  // incarnations that ended here
  std::map<std::uint64_t, std::pair<Address, Address>> locating_;  // ticket -> local, remote
  std::uint64_t next_ticket_ = 1;
};

}  // namespace dvk::node
