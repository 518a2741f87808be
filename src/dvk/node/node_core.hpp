// The pure core of a daemon: who is attached here, where everybody else lives, and what to do about
// it.
//
// It wires the parts: Directory (names and places), Router (conversations between nodes), Mover
// (endpoint moves), Copier (memory copies), Express (connections between busy processes). Driven by
// dvsd with sockets and by the simulator with queues.
#pragma once

#include <memory>
#include <string>

#include "dvk/node/copier.hpp"
#include "dvk/node/directory.hpp"
#include "dvk/node/express.hpp"
#include "dvk/node/local_table.hpp"
#include "dvk/node/mover.hpp"
#include "dvk/node/output.hpp"
#include "dvk/node/policy.hpp"
#include "dvk/node/router.hpp"
#include "dvk/node/view.hpp"

namespace dvk::node {

class NodeCore final : DirectoryUpper {
 public:
  NodeCore(NodeId self, Output& output, Policy policy);
  ~NodeCore();

  // --- From processes. `container` and `uid` are facts of the connection, not claims. ---
  void on_hello(Handle handle, ContainerId container, std::uint32_t uid, const wire::Hello& hello,
                TimePoint now);
  // `state`: the moved state, with MoveOut only. A message that does not fit the endpoint's
  // situation is ignored: a hostile process harms itself.
  void on_process_message(Handle handle, const wire::ToDaemon& message, BytesView state,
                          TimePoint now);
  void on_process_packet(Handle handle, const PacketHeader& header, BytesView payload,
                         TimePoint now);
  void on_process_closed(Handle handle, TimePoint now);

  // --- From nodes. Errors mean the other daemon broke the protocol; nothing was done. ---
  // One message of a lane, as it came (any NodeMessageForm).
  Result<void> on_node_message(NodeId from, BytesView message, TimePoint now);
  // A session with the node began. `has_restarted`: its daemon is a new incarnation, so every
  // endpoint it hosted has ended. Otherwise messages of the session before may be lost.
  void on_link_up(NodeId node, bool has_restarted, TimePoint now);
  // The link was given up: outcomes are unknown.
  void on_link_down(NodeId node, TimePoint now);
  // The bulk lane to `node` has room again.
  void on_bulk_room(NodeId node, TimePoint now);

  // --- From the cluster ---
  void install_view(const View& view, TimePoint now);
  // Cut off from the majority, this node must not act as an authority: names are neither given nor
  // looked up until it is thawed. Conversations go on as far as their links do.
  void set_frozen(bool is_frozen, TimePoint now);
  // A committed fact: the node is lost, its endpoints ended.
  void on_node_lost(NodeId node, TimePoint now);

  // --- Clock and work ---
  void on_tick(TimePoint now);
  TimePoint next_deadline() const;
  // Moves some bytes of the copies under way; true: more can be done at once.
  bool work();

  std::size_t endpoint_count() const { return locals_.size(); }

 private:
  // What a directory ticket was for.
  struct Ask {
    enum class Kind : std::uint8_t { open, promotion, name } kind{};
    Handle handle{};
    std::uint64_t request = 0;  // name: the process's own number
    Address address{}, old_address{};
  };

  std::uint64_t ask(Ask question);
  void open(LocalEndpoint& endpoint, const wire::Hello& hello, TimePoint now);
  void adopt(LocalEndpoint& endpoint, const wire::Hello& hello);
  void become_active(LocalEndpoint& endpoint);
  void welcome_backup(LocalEndpoint& endpoint);
  Address fresh_address(ContainerId container);
  void on_control(NodeId from, const wire::NodeMessage& message, TimePoint now);
  void refuse(Handle handle, Errc error, std::string detail);
  void end_endpoint(const LocalEndpoint& endpoint);

  // DirectoryUpper
  void registered(std::uint64_t ticket, Errc error, EndpointId id) override;
  void found(std::uint64_t ticket, Errc error, const Address& address, NodeId node) override;
  void promote(const Address& backup, EndpointId id, const std::string& name) override;

  NodeId self_;
  Output& output_;
  Policy policy_;
  View view_;
  bool is_frozen_ = false;
  LocalTable locals_;
  Directory directory_;
  Router router_;
  Mover mover_;
  Copier copier_;
  Express express_;
  std::map<std::uint64_t, Ask> asks_;
  std::uint64_t next_ticket_ = 1;
  TimePoint now_{};  // of the call under way, for upcalls
};

}  // namespace dvk::node
