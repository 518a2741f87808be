// The daemon: the shell around the pure core of a node. One thread, one loop.
//
//   turn: what sockets and timers have to say; packets out of every ring, a bounded number each;
//   some work of the copies; then everything that was sent goes out at once: one publish and wake
//   per ring, one write per link. When a turn had nothing to do: a short while of giving way, then
//   sleep.
//
// Invariant: the core is never called from within the core. What its outputs bring about
// (connections to be closed, nodes that turn out unreachable) is told when it has returned.
#pragma once

#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>

#include "dvk/daemon/attach_server.hpp"
#include "dvk/daemon/control_server.hpp"
#include "dvk/daemon/extension.hpp"
#include "dvk/daemon/node_links.hpp"
#include "dvk/daemon/node_output.hpp"
#include "dvk/daemon/serial_store.hpp"
#include "dvk/daemon/state_directory.hpp"
#include "dvk/daemon/view_source.hpp"
#include "dvk/node/node_core.hpp"
#include "dvk/ring/waiter.hpp"

namespace dvk::daemon {

class Daemon final : AttachUpper, LinksUpper, ViewUpper, DaemonControl {
 public:
  // Takes the directories, binds all sockets. Blocks for disk writes. Errors: as the parts give
  // them; the detail says which part and what to do.
  static Result<std::unique_ptr<Daemon>> create(Config config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Takes views from here, and not from the static list. Before run.
  void use_views(std::unique_ptr<ViewSource> source) { view_source_ = std::move(source); }

  // Starts a service beside what the daemon does itself. To be called before run. Errors: as the
  // extension gives them.
  Result<void> extend(std::unique_ptr<Extension> extension);

  // Runs until SIGTERM, SIGINT or the control command `stop`; then ends in order, within a second.
  // Errors: system (a failure that makes it impossible to go on), peer_died (the cluster has
  // declared this node lost: to be started again).
  Result<void> run();

  // Of the listener for links; 0 without links.
  std::uint16_t link_port() const { return links_ ? links_->port() : 0; }

 private:
  Daemon(Config config, DirectoryLock state_lock, DirectoryLock run_lock, SerialStore serials,
         ring::Waiter waiter);
  Result<void> open(const ClusterId& cluster);

  // --- The loop ---
  Result<bool> turn();
  bool give_way();
  void sleep();
  void watch_waiter();
  Result<bool> serve_descriptors();
  bool has_packets() const { return attach_->has_packets(); }
  void settle();
  Result<void> stop();

  // Calls the core, then does what its outputs ask for.
  template <class Call>
  void with_core(Call call);

  // --- AttachUpper ---
  void on_hello(AttachedProcess& process, const wire::Hello& hello) override;
  void on_message(AttachedProcess& process, const wire::ToDaemon& message,
                  dvs::BytesView state) override;
  void on_packet(AttachedProcess& process, const wire::Packet& packet) override;
  void on_closed(AttachedProcess& process) override;
  // --- LinksUpper ---
  void on_node_message(NodeId from, dvs::BytesView message) override;
  void on_link_up(NodeId node, bool has_restarted) override;
  void on_link_down(NodeId node) override;
  void on_bulk_room(NodeId node) override;
  void on_link_state(const LinkChange& change) override;
  // --- ViewUpper ---
  void on_view(const node::View& view) override;
  void on_node_lost(NodeId node) override;
  void on_frozen(bool is_frozen) override;
  void on_own_loss() override;

  // --- DaemonControl ---
  DaemonStatus status() const override;
  bool cut(NodeId node) override { return links_ && links_->cut(node); }
  void request_stop() override { is_stopping_ = true; }

  void tell_processes_changed();
  std::string answer(std::string_view command);
  std::string status_json() const;

  const Config config_;
  DirectoryLock state_lock_, run_lock_;
  SerialStore serials_;
  std::uint64_t boot_ = 0;
  boost::asio::io_context io_{1};
  ring::Waiter waiter_;
  // A duplicate of the waiter's epoll descriptor: asio closes what it owns.
  boost::asio::posix::stream_descriptor waiter_watch_;
  boost::asio::signal_set signals_;
  NodeOutput output_;
  node::NodeCore core_;
  std::unique_ptr<ViewSource> view_source_;
  std::unique_ptr<NodeLinks> links_;  // may be null
  std::unique_ptr<AttachServer> attach_;
  std::unique_ptr<ControlServer> control_;
  node::View view_;
  std::vector<std::unique_ptr<Extension>> extensions_;
  ring::PhaseHabit giving_way_;
  TimePoint now_{};
  std::uint64_t turns_ = 0;
  std::uint64_t sleeps_ = 0;
  bool is_in_core_ = false;
  bool is_waiter_ready_ = true;
  bool has_work_ = false;  // of the copies: more can be done at once
  bool is_stopping_ = false;
  bool is_declared_lost_ = false;
};

}  // namespace dvk::daemon
