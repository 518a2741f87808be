// See node_links.hpp.
#include "dvk/daemon/node_links.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>

#include <fmt/format.h>

#include "dvk/core/peer_life.hpp"
#include "dvk/daemon/log.hpp"
#include "dvk/link/link_set.hpp"
#include "dvk/link/task_scope.hpp"

namespace dvk::daemon {

using core::LinkEvent;
using core::LinkState;
using core::SessionCause;
using dvs::Bytes;
using dvs::BytesView;
using dvs::raw;

namespace {

constexpr auto stop_time_max = std::chrono::milliseconds(500);
// Offers of express connections that wait for their socket, and for how long.
constexpr std::size_t express_expected_max = 1024;
constexpr auto express_patience = std::chrono::seconds(10);

const char* name_of(SessionCause cause) {
  switch (cause) {
    case SessionCause::first: return "first";
    case SessionCause::peer_restarted: return "peer_restarted";
    case SessionCause::given_up: return "given_up";
  }
  return "unknown";
}

link::LinkSetConfig link_config(const Config& config, const ClusterId& cluster,
                                std::uint64_t boot) {
  link::LinkSetConfig links;
  links.self = config.node;
  links.cluster = cluster;
  links.boot = boot;
  links.listen_host = config.listen_host;
  links.listen_port = config.listen_port;
  links.peers = config.peers;
  if (config.certificate) {
    links.certificate = {config.certificate->authority, config.certificate->certificate,
                         config.certificate->key};
  }
  links.insecure_plaintext = config.insecure_plaintext;
  links.is_compressing = config.is_compressing;
  links.timings.heartbeat_interval = config.timings.heartbeat;
  links.timings.suspect_after = config.timings.suspect;
  links.timings.give_up_after = config.timings.give_up;
  // A connection that says nothing is replaced well before the link is given up.
  links.timings.reconnect_after =
      std::clamp<dvs::Duration>(links.timings.reconnect_after, config.timings.suspect,
                                (config.timings.suspect + config.timings.give_up) / 2);
  return links;
}

// NodeLinks on a LinkSet.
class LinkSetLinks final : public NodeLinks, link::LinkSetUpper {
 public:
  LinkSetLinks(const Config& config, LinksUpper& upper);
  Result<void> open(boost::asio::io_context& io, link::LinkSetConfig config);

  void set_cluster(ClusterLaneUpper* upper) override { cluster_ = upper; }
  void start() override { set_->start(); }
  void stop(boost::asio::io_context& io) override;
  bool send_control(NodeId node, Lane lane, Bytes message) override;
  bool has_room(NodeId node, Lane lane) const override;
  bool send(NodeId node, Lane lane, Bytes message) override;
  Bytes take_buffer(std::size_t bytes) override { return set_->take_buffer(bytes); }
  bool flush() override;
  void settle() override;
  void dial_express(NodeId node, const link::ExpressToken& token, ThenSocket then) override {
    set_->dial_express(node, token, std::move(then));
  }
  void expect_express(const link::ExpressToken& token, ThenSocket then) override;
  bool is_encrypting() const override { return is_encrypting_; }
  bool cut(NodeId node) override { return set_->cut(node); }
  std::uint16_t port() const override { return set_->port(); }
  std::vector<LinkStatus> status() const override;

 private:
  struct Waiting {
    std::deque<Bytes> messages;
    std::size_t bytes = 0;
  };
  struct Peer {
    std::array<Waiting, link::lane_count> waiting;
    core::PeerLife life;
  };

  // LinkSetUpper
  void on_message(NodeId from, Lane lane, BytesView payload) override;
  void on_event(NodeId peer, Lane lane, const LinkEvent& event) override;
  void on_connection_failed(NodeId peer, const dvs::Error& error) override;
  void on_express(dvs::runtime::Fd socket, const link::ExpressToken& token) override;

  void on_session(NodeId node, Lane lane, const LinkEvent& event);
  void on_cluster_event(NodeId node, const LinkEvent& event);
  void drop_waiting(NodeId node);
  void send_waiting(NodeId node, Lane lane);
  Waiting& waiting(NodeId node, Lane lane) {
    return peers_.at(node).waiting[static_cast<std::size_t>(lane)];
  }

  struct Expected {
    ThenSocket then;
    dvs::TimePoint until;
  };

  LinksUpper& upper_;
  ClusterLaneUpper* cluster_ = nullptr;
  bool is_encrypting_ = true;
  bool is_stopping_ = false;
  std::map<link::ExpressToken, Expected> expected_;
  std::map<NodeId, Peer> peers_;
  std::set<NodeId> dirty_;       // sent to since the last flush
  std::set<NodeId> overflowed_;  // more waited than may: broken as far as the core is concerned
  std::unique_ptr<link::LinkSet> set_;
};

LinkSetLinks::LinkSetLinks(const Config& config, LinksUpper& upper) : upper_(upper) {
  for (const link::PeerAddress& peer : config.peers) peers_.try_emplace(peer.id);
}

Result<void> LinkSetLinks::open(boost::asio::io_context& io, link::LinkSetConfig config) {
  is_encrypting_ = !config.insecure_plaintext;
  DVS_TRY(set_, link::LinkSet::create(io, std::move(config), *this));
  return {};
}

void LinkSetLinks::expect_express(const link::ExpressToken& token, ThenSocket then) {
  const dvs::TimePoint now = std::chrono::steady_clock::now();
  std::erase_if(expected_, [&](const auto& entry) { return entry.second.until < now; });
  if (expected_.size() >= express_expected_max) return;
  expected_[token] = {std::move(then), now + express_patience};
}

// A token is good once; a socket with one that nobody expects is closed.
void LinkSetLinks::on_express(dvs::runtime::Fd socket, const link::ExpressToken& token) {
  const auto found = expected_.find(token);
  if (found == expected_.end() || is_stopping_) return;
  const ThenSocket then = std::move(found->second.then);
  expected_.erase(found);
  then(std::move(socket));
}

void LinkSetLinks::stop(boost::asio::io_context& io) {
  is_stopping_ = true;
  flush();
  if (!link::run_to_end(io, set_->stop(), stop_time_max)) spdlog::warn("event=links_stop_slow");
}

// --- Sending ---

bool LinkSetLinks::has_room(NodeId node, Lane lane) const {
  const auto peer = peers_.find(node);
  return peer != peers_.end() && !overflowed_.contains(node) &&
         peer->second.waiting[static_cast<std::size_t>(lane)].messages.empty() &&
         set_->has_room(node, lane);
}

bool LinkSetLinks::send(NodeId node, Lane lane, Bytes message) {
  if (!has_room(node, lane) || !set_->send(node, lane, std::move(message))) return false;
  dirty_.insert(node);
  return true;
}

bool LinkSetLinks::send_control(NodeId node, Lane lane, Bytes message) {
  if (!peers_.contains(node) || set_->state(node, lane) == LinkState::down) return false;
  if (overflowed_.contains(node)) return true;  // lost, and told by settle
  Waiting& queue = waiting(node, lane);
  if (queue.messages.empty() && set_->has_room(node, lane)) {
    return send(node, lane, std::move(message));
  }
  queue.bytes += message.size();
  queue.messages.push_back(std::move(message));
  if (queue.bytes > waiting_bytes_max) {
    spdlog::error("event=link_overflow node={} lane={} bytes={}", raw(node), link::name_of(lane),
                  queue.bytes);
    for (Waiting& each : peers_.at(node).waiting) each = {};
    overflowed_.insert(node);
  }
  return true;
}

// Of the lanes of the dvk.
void LinkSetLinks::drop_waiting(NodeId node) {
  for (const Lane lane : {Lane::message, Lane::bulk}) waiting(node, lane) = {};
}

void LinkSetLinks::send_waiting(NodeId node, Lane lane) {
  Waiting& queue = waiting(node, lane);
  while (!queue.messages.empty() && set_->has_room(node, lane)) {
    Bytes message = std::move(queue.messages.front());
    queue.messages.pop_front();
    queue.bytes -= message.size();
    (void)set_->send(node, lane, std::move(message));
    dirty_.insert(node);
  }
}

bool LinkSetLinks::flush() {
  const auto nodes = std::exchange(dirty_, {});
  for (const NodeId node : nodes) set_->flush(node);
  return !nodes.empty();
}

// The core is told that the link broke and is there again, so it asks anew for all that was lost.
void LinkSetLinks::settle() {
  if (overflowed_.empty()) return;
  const auto nodes = std::exchange(overflowed_, {});
  for (const NodeId node : nodes) {
    upper_.on_link_down(node);
    if (cluster_ != nullptr) cluster_->on_cluster_lost(node);
    if (set_->state(node) != LinkState::down) upper_.on_link_up(node, false);
    const bool has_cluster = set_->state(node, Lane::cluster) != LinkState::down;
    if (cluster_ != nullptr && has_cluster) cluster_->on_cluster_up(node);
  }
}

// --- From the links ---

void LinkSetLinks::on_message(NodeId from, Lane lane, BytesView payload) {
  if (lane != Lane::cluster) return upper_.on_node_message(from, payload);
  if (cluster_ != nullptr) cluster_->on_cluster_message(from, payload);
}

void LinkSetLinks::on_event(NodeId node, Lane lane, const LinkEvent& event) {
  if (event.kind == LinkEvent::Kind::state_changed) {
    upper_.on_link_state({node, lane, event.state, event.lost_frames});
  }
  if (lane == Lane::cluster) return on_cluster_event(node, event);
  switch (event.kind) {
    case LinkEvent::Kind::state_changed:
      spdlog::info("event=link_state node={} lane={} state={} lost_frames={}", raw(node),
                   link::name_of(lane), core::name_of(event.state), event.lost_frames);
      if (event.state != LinkState::down) return;
      drop_waiting(node);
      return upper_.on_link_down(node);
    case LinkEvent::Kind::new_session: return on_session(node, lane, event);
    case LinkEvent::Kind::room_available:
      send_waiting(node, lane);
      if (lane == Lane::bulk && has_room(node, lane)) upper_.on_bulk_room(node);
      return;
  }
}

// The dvk neither uses this lane nor learns anything from it.
void LinkSetLinks::on_cluster_event(NodeId node, const LinkEvent& event) {
  Waiting& queue = waiting(node, Lane::cluster);
  const bool is_lost =
      (event.kind == LinkEvent::Kind::state_changed && event.state == LinkState::down) ||
      (event.kind == LinkEvent::Kind::new_session && event.cause != SessionCause::first);
  if (is_lost) queue = {};
  if (event.kind == LinkEvent::Kind::room_available) send_waiting(node, Lane::cluster);
  if (cluster_ == nullptr) return;
  if (is_lost) cluster_->on_cluster_lost(node);
  if (event.kind == LinkEvent::Kind::new_session) cluster_->on_cluster_up(node);
  if (event.kind == LinkEvent::Kind::room_available && queue.messages.empty()) {
    cluster_->on_cluster_room(node);
  }
}

void LinkSetLinks::on_session(NodeId node, Lane lane, const LinkEvent& event) {
  spdlog::info("event=link_session node={} lane={} cause={} lost_frames={}", raw(node),
               link::name_of(lane), name_of(event.cause), event.lost_frames);
  Peer& peer = peers_.at(node);
  if (event.cause != SessionCause::first) peer.waiting[static_cast<std::size_t>(lane)] = {};
  const core::PeerLife::News news = lane == Lane::message
                                        ? peer.life.on_message_session(event.cause)
                                        : peer.life.on_bulk_session(event.cause);
  if (news.must_cut_bulk) set_->cut(node);
  if (news.is_up) upper_.on_link_up(node, news.has_restarted);
}

void LinkSetLinks::on_connection_failed(NodeId peer, const dvs::Error& error) {
  spdlog::warn("event=connection_failed node={} error={}", raw(peer), log_text(error));
}

std::vector<LinkStatus> LinkSetLinks::status() const {
  std::vector<LinkStatus> links;
  for (const auto& [node, peer] : peers_) {
    for (const Lane lane : link::all_lanes) {
      links.push_back({node, lane, set_->state(node, lane), *set_->statistics(node, lane),
                       peer.waiting[static_cast<std::size_t>(lane)].bytes});
    }
  }
  return links;
}

}  // namespace

std::string NodeLinks::status_json() const {
  std::string text = "[";
  for (const LinkStatus& link : status()) {
    const core::LinkStatistics& numbers = link.numbers;
    text += fmt::format(
        "{}{{\"node\":{},\"lane\":\"{}\",\"state\":\"{}\",\"frames_sent\":{},\"bytes_sent\":{},"
        "\"frames_received\":{},\"bytes_received\":{},\"replays\":{},\"duplicates\":{},"
        "\"reconnects\":{},\"sessions\":{},\"lost_frames\":{},\"waiting_bytes\":{}}}",
        text.size() > 1 ? "," : "", raw(link.node), link::name_of(link.lane),
        core::name_of(link.state), numbers.frames_sent, numbers.bytes_sent, numbers.frames_received,
        numbers.bytes_received, numbers.replays, numbers.duplicates, numbers.reconnects(),
        numbers.sessions, numbers.lost_frames, link.waiting_bytes);
  }
  return text + "]";
}

Result<std::unique_ptr<NodeLinks>> NodeLinks::create(boost::asio::io_context& io,
                                                     const Config& config, const ClusterId& cluster,
                                                     std::uint64_t boot, LinksUpper& upper) {
  auto links = std::make_unique<LinkSetLinks>(config, upper);
  DVS_CHECK(links->open(io, link_config(config, cluster, boot)));
  return links;
}

}  // namespace dvk::daemon
