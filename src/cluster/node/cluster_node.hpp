// One node of a cluster that agrees: consensus, membership and what the dvk learns of both.
//
//   engine (own thread) ── applies ──> Replica ── news ──┐
//     ▲ streams                                          ▼ on the loop
//   StreamCarrier ── lane `cluster` ── Membership ── ClusterNode ──> ViewUpper (the daemon)
//
// The leader of the system group takes nodes in that say hello with a certificate of the cluster,
// makes the first of them voters, and proposes what the membership asks for. A node that is not a
// voter keeps the log all the same.
//
// The view that the dvk gets has every node that was taken in and is not lost: a node that is
// merely out of the cluster's view may come back with all that lives there, so the dvk waits for it
// until it is declared lost.
//
// All of it on one loop, but for Replica.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/steady_timer.hpp>

#include "cluster/carrier/stream_carrier.hpp"
#include "cluster/engine/engine.hpp"
#include "cluster/membership/membership.hpp"
#include "cluster/node/lane_message.hpp"
#include "cluster/node/replica.hpp"
#include "dvk/daemon/node_links.hpp"
#include "dvk/daemon/view_source.hpp"

namespace dvs::cluster {

struct ClusterNodeConfig {
  NodeId self{};
  std::string name;                 // of the node in the cluster: one label of a host name
  std::string address;              // where other nodes reach its links
  std::filesystem::path directory;  // of the log; made if it is missing
  std::filesystem::path boot_file;  // in a directory that does not outlive the machine's boot
  bool is_first = false;            // begins a new cluster, where there is none yet
  unsigned voters_max = 3;          // odd
  // Twice the engine's own: on a machine whose cores are all busy a shorter one finds leaders dead
  // that are merely late.
  std::chrono::milliseconds election_timeout{300};
  MembershipSettings membership;
};

// For people and programs.
struct ClusterStatus {
  EngineStatus engine;
  std::vector<NodeId> voters;  // ascending
  View view;
  std::vector<Node> nodes;
  std::vector<NodeId> lost;  // of the nodes
  bool is_frozen = true;
};

class ClusterNode final : public dvk::daemon::ViewSource,
                          EngineUpper,
                          StreamUpper,
                          dvk::daemon::ClusterLaneUpper {
 public:
  explicit ClusterNode(ClusterNodeConfig config);
  ~ClusterNode() override;

  // ViewSource. Errors of start: those of Engine::start, system (the boot file).
  Result<void> start(dvk::daemon::ViewUpper& upper, boost::asio::io_context& io,
                     dvk::daemon::NodeLinks* links) override;
  void stop(boost::asio::io_context& io) override;
  std::string status_json() const override;

  ClusterStatus status() const;

 private:
  using Done = std::function<void(const Result<Answer>&)>;

  // EngineUpper
  void on_role_change(Position position, std::uint64_t term, NodeId leader) override;
  void wants_stream(NodeId to, runtime::Fd stream) override;
  // StreamUpper
  bool has_room(NodeId node) override;
  void send(NodeId node, Bytes message) override;
  void on_stream(NodeId from, runtime::Fd end) override;
  // ClusterLaneUpper
  void on_cluster_message(NodeId from, BytesView message) override;
  void on_cluster_up(NodeId node) override;
  void on_cluster_lost(NodeId node) override;
  void on_cluster_room(NodeId node) override;

  Result<BootId> take_boot(bool is_fresh) const;
  void take_new_boot();
  Result<void> take(NodeId from, LaneForm form, BytesView body);
  void send_lane(NodeId node, Bytes message);
  Hello own_hello() const;

  void on_news(RosterNews news);
  void tell_view(const RosterNews& news);
  void act(const Actions& actions);
  void propose_for_membership(const Command& command);
  boost::asio::awaitable<void> tick_forever();

  // Leading
  void begin_leading(std::uint64_t term);
  void open_session(std::uint64_t term);
  void take_in(NodeId node, const Hello& hello);
  void arrange_members();
  void arrange_engine();
  void change_members(NodeId node, bool is_known, Role role);

  // `done` is called once, on the loop. Errors: those of Engine::propose.
  void propose(const Proposal& proposal, Done done);

  ClusterNodeConfig config_;
  BootId boot_{};
  dvk::daemon::ViewUpper* upper_ = nullptr;
  boost::asio::io_context* io_ = nullptr;
  dvk::daemon::NodeLinks* links_ = nullptr;

  Replica replica_;
  std::unique_ptr<Engine> engine_;
  std::optional<Membership> membership_;
  std::optional<StreamCarrier> carrier_;
  std::optional<dvk::link::TaskScope> scope_;

  Roster roster_;
  std::map<NodeId, Hello> hellos_;  // of the present sessions
  Position position_ = Position::follower;
  std::uint64_t term_ = 0;
  bool is_leading_ = false;  // and has applied what came before
  ClientId session_{};       // of the leading node, for what it proposes of its own
  std::uint64_t sequence_ = 0;
  bool is_changing_members_ = false;
  TimePoint change_members_at_{};        // not before, after a change that failed
  std::map<NodeId, TimePoint> join_at_;  // not before; `never` while it is under way
  bool is_frozen_ = true;
  bool has_acted_ = false;  // was ever thawed
};

}  // namespace dvs::cluster
