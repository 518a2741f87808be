// For tests: an ApiSource that tells of two nodes and remembers what it was asked to do.
#pragma once

#include <vector>

#include "api/api_source.hpp"

namespace dvs::api::test {

class TestSource final : public ApiSource {
 public:
  std::string version() const override { return "1.2.3"; }
  NodeReport node() const override {
    return {.id = NodeId{1},
            .boot = 7,
            .pid = 42,
            .uptime = std::chrono::milliseconds(1500),
            .link_port = 7400,
            .connections = 2,
            .endpoints = 3};
  }
  ClusterReport cluster() const override {
    ClusterReport report{.id = "00112233445566778899aabbccddeeff",
                         .view_number = 5,
                         .is_view_static = true,
                         .directory_authority = NodeId{1},
                         .members = {{NodeId{1}, "one:7400"}, {NodeId{2}, "two:7400"}},
                         .links = {}};
    for (const char* lane : {"message", "bulk"}) {
      LinkReport link{.node = NodeId{2}, .lane = lane, .state = "up"};
      if (link.lane == "bulk") link.state = bulk_state;
      link.bytes_sent = 100;
      report.links.push_back(link);
    }
    return report;
  }
  bool cut(NodeId node) override {
    cuts.push_back(node);
    return true;
  }
  void stop() override { is_stopped = true; }

  std::string bulk_state = "up";
  std::vector<NodeId> cuts;
  bool is_stopped = false;
};

}  // namespace dvs::api::test
