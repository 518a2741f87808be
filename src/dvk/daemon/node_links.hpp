// The links as the core wants them: control messages that are never dropped while the link is not
// given up, packets that are dropped when there is no room, and news of sessions in the order the
// core needs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/bytes.hpp"
#include "dvk/core/link_core.hpp"
#include "dvk/daemon/config.hpp"
#include "dvk/link/lane.hpp"
#include "runtime/fd.hpp"

namespace dvk::daemon {

using link::Lane;

// One lane of the link to a node.
struct LinkStatus {
  NodeId node{};
  Lane lane{};
  core::LinkState state{};
  core::LinkStatistics numbers;
  std::size_t waiting_bytes = 0;  // for room, beyond what the link retains
};

struct LinkChange {
  NodeId node{};
  Lane lane{};
  core::LinkState state{};
  std::uint64_t lost_frames = 0;
};

// May call NodeLinks, except stop.
class LinksUpper {
 public:
  virtual void on_node_message(NodeId from, dvs::BytesView message) = 0;
  virtual void on_link_up(NodeId node, bool has_restarted) = 0;
  virtual void on_link_down(NodeId node) = 0;
  virtual void on_bulk_room(NodeId node) = 0;
  virtual void on_link_state(const LinkChange& change) = 0;

 protected:
  ~LinksUpper() = default;
};

// What the cluster layer hears of its lane. May call NodeLinks, except stop.
class ClusterLaneUpper {
 public:
  virtual void on_cluster_message(NodeId from, dvs::BytesView message) = 0;
  // A session has begun: the node can be sent to.
  virtual void on_cluster_up(NodeId node) = 0;
  // What was under way in either direction is lost. Told before on_cluster_up where the session is
  // another one.
  virtual void on_cluster_lost(NodeId node) = 0;
  virtual void on_cluster_room(NodeId node) = 0;

 protected:
  ~ClusterLaneUpper() = default;
};

class NodeLinks {
 public:
  // What may wait for room beyond what the link retains, per node and lane; beyond it the link
  // counts as broken.
  static constexpr std::size_t waiting_bytes_max = 64 * 1024 * 1024;

  // Loads the certificates, binds the listener. `io` and `upper` must outlive the links.
  // Errors: certificate_rejected, wrong_cluster, invalid_argument, system.
  static Result<std::unique_ptr<NodeLinks>> create(boost::asio::io_context& io,
                                                   const Config& config, const ClusterId& cluster,
                                                   std::uint64_t boot, LinksUpper& upper);
  virtual ~NodeLinks() = default;

  // Who hears of the lane `cluster`; nobody by default. Before start; must outlive stop.
  virtual void set_cluster(ClusterLaneUpper* upper) = 0;
  virtual void start() = 0;
  // Runs `io` until the links are closed.
  virtual void stop(boost::asio::io_context& io) = 0;

  // False: the link is down, or there is no such node; the message is dropped.
  virtual bool send_control(NodeId node, Lane lane, dvs::Bytes message) = 0;
  // Of a message of any size that `send` would take.
  virtual bool has_room(NodeId node, Lane lane) const = 0;
  // False: no room, or the link is down; the message is dropped.
  virtual bool send(NodeId node, Lane lane, dvs::Bytes message) = 0;
  // A buffer for `send` with any contents, reused where possible.
  virtual dvs::Bytes take_buffer(std::size_t bytes) = 0;
  // Writes what was sent in this turn. True: there was something.
  virtual bool flush() = 0;
  // Hands up what could not be told at once. Not from within LinksUpper.
  virtual void settle() = 0;

  // Connections between processes. The socket is given to `then` when it is there, if ever; not
  // after stop.
  using ThenSocket = std::function<void(dvs::runtime::Fd)>;
  virtual void dial_express(NodeId node, const link::ExpressToken& token, ThenSocket then) = 0;
  virtual void expect_express(const link::ExpressToken& token, ThenSocket then) = 0;
  virtual bool is_encrypting() const = 0;

  // Breaks the connections to the node as a failing network would. False: there were none.
  virtual bool cut(NodeId node) = 0;
  virtual std::uint16_t port() const = 0;
  virtual std::vector<LinkStatus> status() const = 0;
  // The same for people and programs, as a JSON array.
  std::string status_json() const;
};

}  // namespace dvk::daemon
