// Copies in the middle of which something ends: a process, a link, a node.
#include "dvk/node/test_copier.hpp"

namespace dvk::node {
namespace {

// --- Ends ----------------------------------------------------------------------------------------

class CopierEndTest : public CopierTest {
 protected:
  // Orderer on node 1, source on 2, target on 3, and one piece is written.
  CopierEndTest() : orderer(open(1)), source(open(2)), target(open(3)) {
    connect(orderer, source);
    connect(orderer, target);
    fill(source, larger, 1);
    fill(target, larger, 2);
    order(orderer, source, target, larger);
  }
  void one_piece() {
    deliver(1, 2);
    core(2).work();
    deliver_one(2, 3, Lane::bulk);
    deliver_one(2, 3, Lane::bulk);
    EXPECT_EQ(node(3).touched.size(), 1U);
  }
  // Neither side goes on with a copy that has ended.
  void expect_stopped() {
    node(2).touched.clear();
    node(3).touched.clear();
    settle();
    EXPECT_TRUE(node(2).touched.empty());
    EXPECT_TRUE(node(3).touched.empty());
    EXPECT_FALSE(core(2).work());
  }
  Process orderer, source, target;
};

TEST_F(CopierEndTest, TheSourceDies) {
  one_piece();
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

TEST_F(CopierEndTest, TheTargetDies) {
  one_piece();
  close(target);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

TEST_F(CopierEndTest, TheSourceDiesBeforeTheOrderArrives) {
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierEndTest, TheTargetDiesBeforeTheBytesArrive) {
  close(target);
  settle();
  expect_outcome(orderer, Errc::peer_died);
  expect_stopped();
}

// The node cannot tell by who asks: source and target are both meant to be there, and the source is
// not.
TEST_F(CopierTest, ASourceThatDiesBesideItsTargetEndsTheCopy) {
  const Process orderer = open(1), source = open(2), target = open(2);
  connect(orderer, source);
  connect(orderer, target);
  fill(target, 10, 2);
  order(orderer, source, target, 10);
  close(source);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierTest, ATargetThatDiesBesideItsSourceEndsTheCopy) {
  for (const unsigned at : {1U, 2U}) {
    const Process orderer = open(1), source = open(at), target = open(at);
    connect(orderer, source);
    connect(orderer, target);
    fill(source, 10, 2);
    order(orderer, source, target, 10);
    close(target);
    settle();
    expect_outcome(orderer, Errc::peer_died);
  }
}

TEST_F(CopierEndTest, TheOrdererDies) {
  one_piece();
  close(orderer);
  deliver(1, 2);
  deliver(1, 3);
  expect_stopped();
}

TEST_F(CopierEndTest, TheOrdererDiesAtOnce) {
  close(orderer);
  settle();
  expect_stopped();
}

// The order to stop goes another lane and may be first: what comes behind it must not begin anew.
TEST_F(CopierEndTest, AStopThatOvertakesTheBeginningStillStops) {
  deliver(1, 2);
  core(2).work();
  close(orderer);
  deliver(1, 2);
  deliver(1, 3);  // the target's node hears of the end first
  deliver(2, 3, Lane::bulk);
  EXPECT_TRUE(node(3).touched.empty());
  close(target);  // nobody hears of a copy that has ended
  EXPECT_TRUE(node(3).under_way<wire::CopyEnd>(id(1)).empty());
}

TEST_F(CopierEndTest, LinksThatBreak) {
  const std::pair<unsigned, unsigned> links[] = {{1, 2}, {1, 3}, {2, 3}};
  for (const auto& [a, b] : links) {
    for (const bool is_renewed : {false, true}) {
      SCOPED_TRACE(std::to_string(a) + std::to_string(b) + (is_renewed ? " renewed" : " given up"));
      settle();
      connect(orderer, source);
      connect(orderer, target);
      node(1).ring[orderer.handle].clear();
      node(3).touched.clear();
      order(orderer, source, target, larger);
      one_piece();
      if (is_renewed) {
        renew_session(a, b);
      } else {
        cut(a, b);
      }
      settle();
      expect_outcome(orderer, Errc::unreachable);
      expect_stopped();
      if (!is_renewed) heal(a, b);
      settle();
      expect_still_works(orderer, source, target);
    }
  }
}

TEST_F(CopierEndTest, LinksThatBreakAtOnce) {
  const std::pair<unsigned, unsigned> links[] = {{1, 2}, {1, 3}, {2, 3}};
  for (const auto& [a, b] : links) {
    settle();
    connect(orderer, source);
    connect(orderer, target);
    node(1).ring[orderer.handle].clear();
    order(orderer, source, target, larger);
    cut(a, b);
    settle();
    expect_outcome(orderer, Errc::unreachable);
    expect_stopped();
    heal(a, b);
    settle();
    expect_still_works(orderer, source, target);
  }
}

TEST_F(CopierEndTest, ALostNodeIsADeadSide) {
  one_piece();
  core(1).on_node_lost(id(2), now);
  settle();
  expect_outcome(orderer, Errc::peer_died);
}

TEST_F(CopierEndTest, ALostOrderersNodeStopsTheOthers) {
  one_piece();
  restart(1);
  expect_stopped();
  // The new daemon counts its copies from the beginning, and is not taken for the old one.
  const Process again = open(1);
  expect_still_works(again, source, target);
}

TEST_F(CopierEndTest, AStopRememberedDoesNotStopTheNextDaemonsCopies) {
  deliver(1, 2);
  core(2).work();
  close(orderer);
  deliver(1, 3);
  node(2).lanes.clear();
  restart(1);
  settle();
  const Process again = open(1);
  expect_still_works(again, source, target);
}

TEST_F(CopierEndTest, AStrangerCannotEndIt) {
  one_piece();
  const auto copy = std::uint64_t{1};
  EXPECT_TRUE(inject(3, 2, wire::CopyEnd{copy, id(1), Errc::grant_denied}).has_value());
  EXPECT_TRUE(inject(2, 3, wire::CopyEnd{copy, id(1), Errc::grant_denied}).has_value());
  settle();
  expect_outcome(orderer, Errc{});
  EXPECT_EQ(memory(target), memory(source));
}

// What a copy wrote to the memory of the old process would be lost, and nobody would know.
TEST_F(CopierEndTest, ASideThatMovesAwayEndsTheCopy) {
  for (const bool is_source : {true, false}) {
    SCOPED_TRACE(is_source ? "source" : "target");
    node(1).ring[orderer.handle].clear();
    node(3).touched.clear();
    const Process from = open(2), to = open(3);
    connect(orderer, from);
    connect(orderer, to);
    fill(from, larger, 1);
    fill(to, larger, 2);
    settle();
    while (next_packet(orderer)) {
    }
    node(3).touched.clear();
    order(orderer, from, to, larger, 9);
    one_piece();
    const Process& mover = is_source ? from : to;
    const unsigned away = is_source ? 3 : 2;
    const Process adopter = adopt(away, "", mover.address);
    tell(mover, wire::MoveOut{.target = id(away), .state_bytes = 1}, Bytes(1));
    deliver(mover.node, away);
    tell(adopter, wire::AdoptReady{});
    deliver(away, mover.node);
    settle();
    expect_outcome(orderer, Errc::unreachable, 9);
  }
}

// All was sent, and went down with a session that only the source had noticed.
TEST_F(CopierEndTest, WhatIsLostOnTheWayToTheTargetIsToldByTheSource) {
  one_piece();
  while (core(2).work()) {
  }
  node(2).lanes[{id(3), Lane::bulk}].clear();
  core(2).on_link_up(id(3), false, now);
  settle();
  expect_outcome(orderer, Errc::unreachable);
}

// The same, but the target's node ordered the copy, and has no reason to think it lost.
TEST_F(CopierEndTest, WhatIsLostOnTheWayToItsOrdererIsToldByTheSource) {
  connect(target, source);
  order(target, source, target, memory(source).size());
  deliver(3, 2);
  while (core(2).work()) {
  }
  node(2).lanes[{id(3), Lane::bulk}].clear();
  core(2).on_link_up(id(3), false, now);
  settle();
  expect_outcome(target, Errc::unreachable);
}

// It would be missing in the state that moves.
TEST_F(CopierEndTest, NothingIsWrittenToAFrozenEndpoint) {
  one_piece();
  tell(target, wire::MoveOut{.target = id(2), .state_bytes = 1}, Bytes(1));
  node(3).touched.clear();
  deliver(2, 3, Lane::bulk);
  EXPECT_TRUE(node(3).touched.empty());
  settle();
  expect_outcome(orderer, Errc::unreachable);
}

TEST_F(CopierEndTest, NothingIsWrittenToAFrozenNeighbour) {
  const Process neighbour = open(3);
  fill(neighbour, large, 4);
  connect(target, neighbour);
  order(target, neighbour, target, large, 5);
  tell(target, wire::MoveOut{.target = id(2), .state_bytes = 1}, Bytes(1));
  node(3).touched.clear();
  while (core(3).work()) {
  }
  EXPECT_EQ(std::ranges::count(node(3).touched, target.handle), 0);
}

}  // namespace
}  // namespace dvk::node
