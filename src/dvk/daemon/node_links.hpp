// The links as the core wants them: control messages that are never dropped while the link is not given
// up, packets that are dropped when there is no room, and news of sessions in the order the core needs.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/io_context.hpp>

#include "dvk/daemon/config.hpp"
#include "dvk/link/link_set.hpp"

namespace dvk::daemon {

using link::Lane;

// May call NodeLinks, except stop.
class LinksUpper {
 public:
  virtual void on_node_message(NodeId from, dvs::BytesView message) = 0;
  virtual void on_link_up(NodeId node, bool has_restarted) = 0;
  virtual void on_link_down(NodeId node) = 0;
  virtual void on_bulk_room(NodeId node) = 0;

 protected:
  ~LinksUpper() = default;
};

class NodeLinks final : link::LinkSetUpper {
 public:
  // What may wait for room beyond what the link retains, per node and lane; beyond it the link counts as
  // broken.
  static constexpr std::size_t waiting_bytes_max = 64 * 1024 * 1024;

  // Errors: as LinkSet::create.
  static Result<std::unique_ptr<NodeLinks>> create(boost::asio::io_context& io, const Config& config,
                                                   const wire::ClusterId& cluster,
                                                   std::uint64_t boot, LinksUpper& upper);

  void start() { set_->start(); }
  // Runs `io` until the links are closed, for half a second at most; what the sockets take before that is
  // sent.
  void stop(boost::asio::io_context& io);

  // False: the link is down, or there is no such node; the message is dropped.
  bool send_control(NodeId node, Lane lane, dvs::Bytes message);
  bool has_room(NodeId node, Lane lane) const;
  // False: no room.
  bool send(NodeId node, Lane lane, dvs::Bytes message);
  dvs::Bytes take_buffer(std::size_t bytes) { return set_->take_buffer(bytes); }
  // Writes what was sent in this turn. True: there was something.
  bool flush();
  // Hands up what could not be told at once. Not from within LinksUpper.
  void settle();

  bool cut(NodeId node) { return set_->cut(node); }
  std::uint16_t port() const { return set_->port(); }
  // The links for people and programs, as a JSON array.
  std::string status_json() const;

 private:
  struct Waiting {
    std::deque<dvs::Bytes> messages;
    std::size_t bytes = 0;
  };
  struct Peer {
    std::array<Waiting, link::lane_count> waiting;
    // Restarts of the peer that the lane has met.
    std::array<std::uint64_t, link::lane_count> restarts{};
  };

  NodeLinks(const Config& config, LinksUpper& upper);

  // LinkSetUpper
  void on_message(NodeId from, Lane lane, dvs::BytesView payload) override;
  void on_event(NodeId peer, Lane lane, const core::LinkEvent& event) override;
  void on_connection_failed(NodeId peer, const dvs::Error& error) override;
  void on_express(dvs::runtime::Fd socket, const link::ExpressToken& token) override;

  void on_session(NodeId node, Lane lane, const core::LinkEvent& event);
  void drop_waiting(NodeId node);
  void send_waiting(NodeId node, Lane lane);
  Waiting& waiting(NodeId node, Lane lane) {
    return peers_.at(node).waiting[static_cast<std::size_t>(lane)];
  }

  LinksUpper& upper_;
  std::map<NodeId, Peer> peers_;
  std::set<NodeId> dirty_;       // sent to since the last flush
  std::set<NodeId> overflowed_;  // more waited than may: broken as far as the core is concerned
  std::unique_ptr<link::LinkSet> set_;
};

}  // namespace dvk::daemon
