// An endpoint on its way from node 2 to node 3, step by step, with peers everywhere.
#pragma once

#include "dvk/node/mover.hpp"
#include "dvk/node/test_cluster.hpp"

namespace dvk::node {

// An endpoint b on node 2 that a on node 1, n on node 2 and t on node 3 talk to, moves to node 3.
class MoverTest : public ClusterTest {
 protected:
  MoverTest()
      : a(open(1)),
        b(open(2, "mover", 5)),
        n(open(2)),
        t(open(3)),
        there(adopt(3, "mover", {}, 5)) {
    join(a, b);
    join(t, b);
    query(n, b.address);
    node(2).introductions.clear();
    there.address = b.address;
  }
  void move_out(std::size_t state_bytes = 10) {
    tell(b, wire::MoveOut{.target = id(3), .state_bytes = state_bytes},
         Bytes(state_bytes, std::byte{0x42}));
  }
  // Steps of a move that goes well.
  void prepare() {
    move_out();
    deliver(2, 3);
    EXPECT_EQ(welcome(there), b.address);
  }
  void get_ready() {
    prepare();
    tell(there, wire::AdoptReady{});
  }
  void commit() {
    get_ready();
    deliver(3, 2);
  }

  // News of routes may come before it.
  Errc move_result(const Process& process) {
    auto& told = node(process.node).told[process.handle];
    while (!told.empty() && std::holds_alternative<wire::Route>(told.front())) told.pop_front();
    const auto message = next<wire::MoveResult>(process);
    return message ? message->error : Errc::system;
  }
  void expect_at_target() {
    settle();
    query(there, a.address);
    settle();
    EXPECT_TRUE(both_ways(a, there));
    EXPECT_EQ(look_up(n, "mover").second, b.address);
    EXPECT_EQ(core(2).endpoint_count(), 1U);
    query(open(1), b.address);
  }
  void expect_at_source() {
    settle();
    EXPECT_TRUE(both_ways(a, b));
    EXPECT_EQ(look_up(n, "mover").second, b.address);
    EXPECT_EQ(core(2).endpoint_count(), 2U);
  }
  void expect_dead() {
    settle();
    for (const Process& peer : {open(1), open(2), open(3)}) {
      query(peer, b.address);
      settle();
      expect_gone(peer, b.address, Errc::peer_died);
    }
    EXPECT_EQ(look_up(n, "mover").first, Errc::unknown_endpoint);
  }

  Process a, b, n, t, there;
};

}  // namespace dvk::node
