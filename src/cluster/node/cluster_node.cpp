// Beginning, end, and what comes over the lane; what only a leader does is in cluster_leading.cpp.
#include "cluster/node/cluster_node.hpp"

#include <sys/random.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "cluster/node/boot_time.hpp"
#include "dvk/daemon/log.hpp"

namespace dvs::cluster {

namespace asio = boost::asio;
using dvk::daemon::log_text;
using dvk::daemon::number_list;
using dvk::link::Lane;

namespace {

constexpr auto stop_time_max = std::chrono::milliseconds(300);

}  // namespace

// --- Beginning and end ---

ClusterNode::ClusterNode(ClusterNodeConfig config)
    : config_(std::move(config)), replica_([this](RosterNews news) {
        asio::post(*io_, [this, news = std::move(news)]() mutable {
          if (engine_) on_news(std::move(news));
        });
      }) {}

ClusterNode::~ClusterNode() = default;

// The number of this boot of the node: kept where a boot of the machine wipes it.
Result<BootId> ClusterNode::take_boot(bool is_fresh) const {
  std::uint64_t number = 0;
  if (!is_fresh) {
    std::ifstream file(config_.boot_file);
    if (file >> number && number != 0) return BootId{number};
  }
  while (number == 0) {
    if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_os("getrandom");
  }
  std::ofstream file(config_.boot_file);
  file << number << '\n';
  if (!file.flush()) return fail_os("writing " + config_.boot_file.string());
  return BootId{number};
}

Result<void> ClusterNode::start(dvk::daemon::ViewUpper& upper, asio::io_context& io,
                                dvk::daemon::NodeLinks* links) {
  upper_ = &upper;
  io_ = &io;
  links_ = links;
  DVS_TRY(boot_, take_boot(false));
  membership_.emplace(config_.self, boot_, config_.membership);
  carrier_.emplace(io, static_cast<StreamUpper&>(*this));
  scope_.emplace(io);
  if (links_ != nullptr) links_->set_cluster(this);
  EngineConfig engine;
  engine.node = config_.self;
  engine.directory = config_.directory;
  engine.is_first = config_.is_first;
  engine.election_timeout = config_.election_timeout;
  engine.heartbeat = config_.election_timeout / 5;
  engine.post = [&io](std::function<void()> function) { asio::post(io, std::move(function)); };
  upper_->on_frozen(true);
  DVS_TRY(engine_, Engine::start(std::move(engine), replica_, *this));
  scope_->spawn(tick_forever());
  return {};
}

void ClusterNode::stop(asio::io_context& io) {
  if (!engine_) return;
  // The ticks use the engine, and its end completes what they began.
  bool is_in_time = dvk::link::run_to_end(io, scope_->stop(), stop_time_max);
  engine_->stop();
  engine_.reset();
  if (links_ != nullptr) links_->set_cluster(nullptr);
  is_in_time &= dvk::link::run_to_end(io, carrier_->stop(), stop_time_max);
  if (!is_in_time) spdlog::warn("event=cluster_stop_slow");
}

asio::awaitable<void> ClusterNode::tick_forever() {
  asio::steady_timer timer(*io_);
  while (!scope_->is_stopping()) {
    timer.expires_after(config_.membership.tick);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (scope_->is_stopping()) co_return;
    Actions actions;
    membership_->tick(boot_time(), actions);
    act(actions);
    if (is_leading_) arrange_members();
  }
}

ClusterStatus ClusterNode::status() const {
  ClusterStatus status;
  if (engine_) status.engine = engine_->status();
  status.voters = voters_of(status.engine);
  status.view = roster_.view();
  status.nodes = roster_.image();
  for (const Node& node : status.nodes) {
    if (node.is_lost) status.lost.push_back(node.id);
  }
  status.is_frozen = is_frozen_;
  return status;
}

std::string ClusterNode::status_json() const {
  const ClusterStatus now = status();
  return fmt::format(R"({{"kind":"agreed","position":"{}","term":{},"leader":{},"voters":[{}],)"
                     R"("view":{{"number":{},"members":[{}]}},"lost":[{}],"frozen":{}}})",
                     name_of(now.engine.position), now.engine.term, raw(now.engine.leader),
                     number_list(now.voters), now.view.number, number_list(now.view.members),
                     number_list(now.lost), now.is_frozen);
}

// --- The lane ---

void ClusterNode::send_lane(NodeId node, Bytes message) {
  if (links_ != nullptr) (void)links_->send_control(node, Lane::cluster, std::move(message));
}

bool ClusterNode::has_room(NodeId node) {
  return links_ != nullptr && links_->has_room(node, Lane::cluster);
}

void ClusterNode::send(NodeId node, Bytes message) {
  send_lane(node, with_form(LaneForm::stream, message));
}

void ClusterNode::on_stream(NodeId from, runtime::Fd end) {
  if (engine_) engine_->accept_stream(from, std::move(end));
}

void ClusterNode::wants_stream(NodeId to, runtime::Fd stream) {
  // Without a session it would wait for one while the engine could ask again.
  if (engine_ && hellos_.contains(to)) carrier_->open(to, std::move(stream));
}

Hello ClusterNode::own_hello() const {
  return {config_.name, config_.address, boot_, command_version};
}

void ClusterNode::on_cluster_up(NodeId node) {
  send_lane(node, encode_lane_message(LaneForm::hello, own_hello()));
}

void ClusterNode::on_cluster_lost(NodeId node) {
  hellos_.erase(node);
  carrier_->on_session_end(node);
}

void ClusterNode::on_cluster_room(NodeId node) {
  carrier_->on_room(node);
}

void ClusterNode::on_cluster_message(NodeId from, BytesView message) {
  if (!engine_) return;
  const auto taken = message.empty()
                         ? fail(Errc::protocol_violation, "empty message")
                         : take(from, static_cast<LaneForm>(message[0]), message.subspan(1));
  if (taken) return;
  spdlog::warn("event=bad_cluster_message node={} error={}", raw(from), log_text(taken.error()));
}

Result<void> ClusterNode::take(NodeId from, LaneForm form, BytesView body) {
  switch (form) {
    case LaneForm::stream: return carrier_->on_message(from, body);
    case LaneForm::membership: {
      Actions actions;
      const auto taken = membership_->on_message(from, body, boot_time(), actions);
      act(actions);
      return taken;
    }
    case LaneForm::hello: {
      DVS_TRY(hellos_[from], dvk::wire::decode_fields<Hello>(body));
      Actions actions;
      membership_->on_link_up(from, boot_time(), actions);
      act(actions);
      return {};
    }
  }
  return fail(Errc::protocol_violation, "unknown form of message");
}

// --- What was agreed ---

void ClusterNode::on_news(RosterNews news) {
  roster_ = news.roster;
  Actions actions;
  membership_->on_roster(roster_, boot_time(), actions);
  tell_view(news);
  act(actions);
}

void ClusterNode::tell_view(const RosterNews& news) {
  for (const NodeId node : news.lost) {
    if (node != config_.self) upper_->on_node_lost(node);
  }
  dvk::node::View view{.number = news.index, .members = {}};
  for (const auto& [id, node] : roster_.nodes()) {
    if (!node.is_lost) view.members.push_back(id);
  }
  // Not taken in yet, or lost: it has no part in this view.
  if (view.contains(config_.self)) upper_->on_view(view);
}

void ClusterNode::act(const Actions& actions) {
  for (const auto& [to, message] : actions.messages) {
    send_lane(to, with_form(LaneForm::membership, message));
  }
  for (const Command& command : actions.proposals) propose_for_membership(command);
  if (actions.standing) {
    is_frozen_ = *actions.standing == Actions::Standing::must_freeze;
    upper_->on_frozen(is_frozen_);
  }
  if (!is_frozen_) has_acted_ = true;
  if (actions.must_take_new_boot) take_new_boot();
}

// What lived here under the boot that was declared lost has ended for all others.
void ClusterNode::take_new_boot() {
  const auto boot = take_boot(true);
  if (!boot) spdlog::error("event=boot_not_written error={}", log_text(boot.error()));
  // The next start of the daemon is the new boot; before it has acted, this one is as good.
  if (!boot || has_acted_) return upper_->on_own_loss();
  boot_ = *boot;
  spdlog::info("event=new_boot");
  membership_->set_boot(boot_, boot_time());
  for (const auto& [node, hello] : hellos_) {
    send_lane(node, encode_lane_message(LaneForm::hello, own_hello()));
  }
}

}  // namespace dvs::cluster
