// A cluster whose endpoints can be moved in one step.
#pragma once

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {

class RouterTest : public ClusterTest {
 protected:
  // Moves an endpoint and gives its process on the other node.
  Process move(const Process& process, unsigned to) {
    Process there = adopt(to, "", process.address);
    tell(process, wire::MoveOut{.target = id(to), .state_bytes = 1}, Bytes(1));
    settle();
    tell(there, wire::AdoptReady{});
    settle();
    there.address = process.address;
    node(to).told[there.handle].clear();
    node(process.node).told[process.handle].clear();
    close(process);
    settle();
    return there;
  }
};

}  // namespace dvk::node
