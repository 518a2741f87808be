// What is added to a daemon from above without the daemon knowing it: a service on its loop, which
// hears its news and may ask it things. The HTTP API is one.
//
// Everything happens on the daemon's one thread; nothing may block.
#pragma once

#include <cstdint>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "dvk/daemon/node_links.hpp"
#include "dvk/node/view.hpp"

namespace dvk::daemon {

struct DaemonStatus {
  dvs::NodeId node{};
  std::uint64_t boot = 0;       // new at each start
  std::uint16_t link_port = 0;  // 0: without links
  std::size_t connections = 0;  // processes on the attach sockets
  std::size_t endpoints = 0;
  std::uint64_t dropped_packets = 0;
  std::uint64_t turns = 0, sleeps = 0;  // of the loop
  node::View view;
  std::vector<LinkStatus> links;  // by node and lane
};

// What an extension may ask of the daemon, whenever it has the thread.
class DaemonControl {
 public:
  virtual DaemonStatus status() const = 0;
  // Breaks the connections to the node as a failing network would. False: there were none.
  virtual bool cut(dvs::NodeId node) = 0;
  // The daemon ends in order once the present turn is over.
  virtual void request_stop() = 0;

 protected:
  ~DaemonControl() = default;
};

class Extension {
 public:
  virtual ~Extension() = default;

  // Takes what it needs; the loop runs later. Both outlive the extension. An error keeps the daemon
  // from starting.
  virtual dvs::Result<void> start(boost::asio::io_context& io, DaemonControl& daemon) = 0;
  // Runs `io` until nothing of the extension is left on it; takes no longer than half a second.
  virtual void stop(boost::asio::io_context& io) = 0;

  // News. May come from the middle of the daemon's work: only to be noted, and looked into later.
  virtual void on_view(const node::View& view) = 0;
  virtual void on_node_lost(dvs::NodeId node) = 0;
  virtual void on_frozen(bool is_frozen) = 0;
  virtual void on_link_state(const LinkChange& change) = 0;
  // A process attached or went, or an endpoint did.
  virtual void on_processes_changed() = 0;
};

}  // namespace dvk::daemon
