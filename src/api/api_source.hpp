// What the API tells and does, as seen by the API: the daemon stands behind it, or a test.
//
// Called on the daemon's thread; nothing may block. Whoever adds something to the daemon that
// people should see adds it to a report here, to the route that shows it (routes.cpp), and to
// docs/api/openapi.json.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

namespace dvs::api {

// The socket of the API, inside the daemon's run directory.
constexpr const char* socket_name = "api.sock";

struct LinkReport {
  NodeId node{};
  std::string lane;   // "message", "bulk" or "cluster"
  std::string state;  // "connecting", "up", "suspect", "reconnecting" or "down"
  std::uint64_t frames_sent = 0, bytes_sent = 0;
  std::uint64_t frames_received = 0, bytes_received = 0;
  std::uint64_t replays = 0, duplicates = 0, reconnects = 0, sessions = 0, lost_frames = 0;
  std::uint64_t waiting_bytes = 0;
};

// The node that answers.
struct NodeReport {
  NodeId id{};
  std::uint64_t boot = 0;  // new at each start
  std::uint64_t pid = 0;
  std::chrono::milliseconds uptime{};
  std::uint16_t link_port = 0;  // 0: the node stands alone
  std::uint64_t connections = 0, endpoints = 0;
  std::uint64_t dropped_packets = 0, turns = 0, sleeps = 0;
};

// A member of the view, and where it is dialled.
struct MemberReport {
  NodeId id{};
  std::string address;  // "" where it is not known
};

// What the nodes agree on, as far as the answering one has heard of it.
struct ConsensusReport {
  std::string position;  // "leader", "follower", "candidate" or "failed"
  std::uint64_t term = 0;
  NodeId leader = no_node;                    // no_node: unknown
  std::vector<NodeId> voters, in_view, lost;  // ascending
  bool is_frozen = false;  // cut off from the majority: gives no names, holds no authority
};

// The cluster as that node sees it.
struct ClusterReport {
  std::string id;  // 32 hexadecimal digits
  std::uint64_t view_number = 0;
  bool is_view_static = false;  // from the configuration: nobody takes out a member that is gone
  NodeId directory_authority{};
  std::vector<MemberReport> members;           // ascending
  std::vector<LinkReport> links;               // by node and lane
  std::optional<ConsensusReport> consensus{};  // none: the view is from the configuration
};

class ApiSource {
 public:
  virtual ~ApiSource() = default;

  virtual std::string version() const = 0;
  virtual NodeReport node() const = 0;
  virtual ClusterReport cluster() const = 0;

  // Breaks the connections to the node as a failing network would; they are made anew. False: there
  // were none.
  virtual bool cut(NodeId node) = 0;
  // Begins to end the daemon, in order, once what is being answered has been answered.
  virtual void stop() = 0;
};

}  // namespace dvs::api
