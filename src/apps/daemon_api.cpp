// See daemon_api.hpp.
#include "apps/daemon_api.hpp"

#include <unistd.h>

#include <chrono>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include <spdlog/spdlog.h>

#include <fmt/format.h>

#include "api/event_log.hpp"
#include "api/server.hpp"
#include "apps/version.hpp"
#include "dvk/link/pki.hpp"
#include "dvk/link/task_scope.hpp"

namespace dvsd {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using dvs::NodeId;
using dvs::raw;

constexpr auto stop_time_max = std::chrono::milliseconds(500);
// Endpoints that come and go in between make one event.
constexpr auto count_delay = std::chrono::milliseconds(200);

dvs::api::LinkReport report_of(const dvk::daemon::LinkStatus& link) {
  const auto& numbers = link.numbers;
  return {.node = link.node,
          .lane = dvk::link::name_of(link.lane),
          .state = dvk::core::name_of(link.state),
          .frames_sent = numbers.frames_sent,
          .bytes_sent = numbers.bytes_sent,
          .frames_received = numbers.frames_received,
          .bytes_received = numbers.bytes_received,
          .replays = numbers.replays,
          .duplicates = numbers.duplicates,
          .reconnects = numbers.reconnects(),
          .sessions = numbers.sessions,
          .lost_frames = numbers.lost_frames,
          .waiting_bytes = link.waiting_bytes};
}

dvs::api::ConsensusReport report_of(const dvs::cluster::ClusterStatus& status) {
  dvs::api::ConsensusReport report;
  report.position = dvs::cluster::name_of(status.engine.position);
  report.term = status.engine.term;
  report.leader = status.engine.leader;
  report.voters = status.voters;
  report.in_view = status.view.members;
  report.lost = status.lost;
  report.is_frozen = status.is_frozen;
  return report;
}

class DaemonApi final : public dvk::daemon::Extension, dvs::api::ApiSource {
 public:
  DaemonApi(const dvk::daemon::Config& config, const dvs::cluster::ClusterNode* cluster)
      : config_(config), cluster_(cluster) {}

 private:
  // --- Extension ---
  dvs::Result<void> start(asio::io_context& io, dvk::daemon::DaemonControl& daemon) override;
  void stop(asio::io_context& io) override;
  void on_view(const dvk::node::View& view) override;
  void on_node_lost(NodeId node) override { tell("node_lost", {{"node", raw(node)}}); }
  void on_frozen(bool is_frozen) override { tell(is_frozen ? "frozen" : "thawed", {}); }
  void on_link_state(const dvk::daemon::LinkChange& change) override;
  void on_processes_changed() override;
  // --- ApiSource ---
  std::string version() const override { return dvsd::version; }
  dvs::api::NodeReport node() const override;
  dvs::api::ClusterReport cluster() const override;
  bool cut(NodeId node) override { return daemon_->cut(node); }
  void stop() override { daemon_->request_stop(); }

  void tell(std::string_view event, const json::object& fields) {
    events_->append(event, std::chrono::system_clock::now(), fields);
  }
  void tell_counts();
  std::string address_of(NodeId node) const;

  const dvk::daemon::Config config_;
  const dvs::cluster::ClusterNode* const cluster_;  // may be null
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string cluster_id_;
  dvk::daemon::DaemonControl* daemon_ = nullptr;  // from start on
  std::unique_ptr<dvs::api::EventLog> events_;
  std::unique_ptr<asio::steady_timer> count_timer_;
  std::unique_ptr<dvs::api::Server> server_;
  bool is_counting_ = false;
  std::size_t told_endpoints_ = 0, told_connections_ = 0;
};

dvs::Result<void> DaemonApi::start(asio::io_context& io, dvk::daemon::DaemonControl& daemon) {
  daemon_ = &daemon;
  DVS_TRY(const auto id, dvk::daemon::cluster_id_of(config_));
  cluster_id_ = dvk::link::to_text(id);
  events_ = std::make_unique<dvs::api::EventLog>(daemon.status().boot);
  count_timer_ = std::make_unique<asio::steady_timer>(io);
  DVS_TRY(server_, dvs::api::Server::create(io, (config_.run_dir / dvs::api::socket_name).string(),
                                            *this, *events_));
  server_->start();
  tell("started", {{"node", raw(config_.node)}, {"version", dvsd::version}});
  return {};
}

void DaemonApi::stop(asio::io_context& io) {
  count_timer_->cancel();
  if (!dvk::link::run_to_end(io, server_->stop(), stop_time_max)) {
    spdlog::warn("event=api_stop_slow");
  }
}

// --- News ----------------------------------------------------------------------------------------

void DaemonApi::on_view(const dvk::node::View& view) {
  json::array members;
  for (const NodeId member : view.members) members.push_back(raw(member));
  tell("view", {{"view", view.number}, {"members", members}});
}

void DaemonApi::on_link_state(const dvk::daemon::LinkChange& change) {
  tell("link_state", {{"node", raw(change.node)},
                      {"lane", dvk::link::name_of(change.lane)},
                      {"state", dvk::core::name_of(change.state)},
                      {"lost_frames", change.lost_frames}});
}

void DaemonApi::on_processes_changed() {
  if (std::exchange(is_counting_, true)) return;
  count_timer_->expires_after(count_delay);
  count_timer_->async_wait([this](const boost::system::error_code& error) {
    if (!error) tell_counts();
  });
}

void DaemonApi::tell_counts() {
  is_counting_ = false;
  const dvk::daemon::DaemonStatus status = daemon_->status();
  if (status.endpoints == told_endpoints_ && status.connections == told_connections_) return;
  told_endpoints_ = status.endpoints;
  told_connections_ = status.connections;
  tell("endpoints", {{"endpoints", status.endpoints}, {"connections", status.connections}});
}

// --- Reports -------------------------------------------------------------------------------------

dvs::api::NodeReport DaemonApi::node() const {
  const dvk::daemon::DaemonStatus status = daemon_->status();
  return {.id = status.node,
          .boot = status.boot,
          .pid = static_cast<std::uint64_t>(::getpid()),
          .uptime = std::chrono::floor<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                  start_),
          .link_port = status.link_port,
          .connections = status.connections,
          .endpoints = status.endpoints,
          .dropped_packets = status.dropped_packets,
          .turns = status.turns,
          .sleeps = status.sleeps};
}

std::string DaemonApi::address_of(NodeId node) const {
  for (const dvk::link::PeerAddress& peer : config_.peers) {
    if (peer.id == node) return fmt::format("{}:{}", peer.host, peer.port);
  }
  if (node != config_.node || !config_.has_links()) return {};
  return fmt::format("{}:{}", config_.listen_host, daemon_->status().link_port);
}

dvs::api::ClusterReport DaemonApi::cluster() const {
  const dvk::daemon::DaemonStatus status = daemon_->status();
  dvs::api::ClusterReport report{.id = cluster_id_,
                                 .view_number = status.view.number,
                                 .is_view_static = status.view.is_static,
                                 .directory_authority = status.view.directory_authority(),
                                 .members = {},
                                 .links = {}};
  for (const NodeId member : status.view.members) {
    report.members.push_back({member, address_of(member)});
  }
  for (const auto& link : status.links) report.links.push_back(report_of(link));
  if (cluster_ != nullptr) report.consensus = report_of(cluster_->status());
  return report;
}

}  // namespace

std::unique_ptr<dvk::daemon::Extension> make_api(const dvk::daemon::Config& config,
                                                 const dvs::cluster::ClusterNode* cluster) {
  return std::make_unique<DaemonApi>(config, cluster);
}

}  // namespace dvsd
