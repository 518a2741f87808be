// Moves of endpoints while links and nodes break, and who asks for the endpoint in between.
#include "dvk/node/test_mover.hpp"

namespace dvk::node {
namespace {

// --- Links and nodes that break ------------------------------------------------------------------

TEST_F(MoverTest, ASessionLostBeforeReadinessEndsTheMove) {
  for (const bool is_prepared : {false, true}) {
    SCOPED_TRACE(is_prepared);
    if (is_prepared) {
      prepare();
    } else {
      move_out();
    }
    renew_session(2, 3);
    settle();
    EXPECT_EQ(move_result(b), Errc::unreachable);
    if (is_prepared) {
      EXPECT_EQ(move_result(there), Errc::cancelled);
    }
    expect_at_source();
  }
}

TEST_F(MoverTest, ASessionLostWithTheReadinessEndsTheMove) {
  get_ready();
  renew_session(2, 3);
  EXPECT_EQ(node(3).under_way<wire::MoveQuery>(id(2)).size(), 1U);
  settle();
  EXPECT_EQ(move_result(b), Errc::unreachable);
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_at_source();
}

TEST_F(MoverTest, ASessionLostWithTheDecisionIsMadeGood) {
  commit();
  EXPECT_EQ(node(2).under_way<wire::MoveDecision>(id(3)).size(), 1U);
  renew_session(2, 3);
  EXPECT_TRUE(hears_nothing(there));
  settle();
  EXPECT_EQ(move_result(there), Errc{});
  expect_at_target();
}

TEST_F(MoverTest, ALinkGivenUpAfterTheDecisionIsMadeGoodWhenItIsBack) {
  commit();
  cut(2, 3);
  settle();
  EXPECT_TRUE(hears_nothing(there));
  heal(2, 3);
  settle();
  EXPECT_EQ(move_result(there), Errc{});
  expect_at_target();
}

TEST_F(MoverTest, ALinkGivenUpBeforeTheDecisionLeavesTheSource) {
  get_ready();
  cut(2, 3);
  EXPECT_EQ(move_result(b), Errc::unreachable);
  EXPECT_TRUE(hears_nothing(there));  // it cannot know
  heal(2, 3);
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_at_source();
}

TEST_F(MoverTest, ALinkThatIsDownRefusesTheMove) {
  cut(2, 3);
  move_out();
  settle();
  EXPECT_EQ(move_result(b), Errc::unreachable);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(MoverTest, ALostSourceTakesTheEndpointWithItUnlessItHadDecided) {
  get_ready();
  restart(2);
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_gone(a, b.address, Errc::peer_died);
}

TEST_F(MoverTest, ALostTargetLeavesTheSource) {
  for (const bool is_ready : {false, true}) {
    SCOPED_TRACE(is_ready);
    if (is_ready) {
      get_ready();
    } else {
      prepare();
    }
    restart(3);
    settle();
    EXPECT_EQ(move_result(b), Errc::unreachable);
    expect_at_source();
    there = adopt(3, "mover", {}, 5);
    there.address = b.address;
  }
}

TEST_F(MoverTest, ATargetLostAfterTheDecisionTakesTheEndpointWithIt) {
  commit();
  restart(3);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  expect_gone(n, b.address, Errc::peer_died);
}

// --- Who asks in between -------------------------------------------------------------------------

// The peer hears of the move before the target hears the decision.
TEST_F(MoverTest, APeerThatArrivesBeforeTheDecisionIsAnsweredAfterIt) {
  commit();
  deliver(2, 1);
  deliver(1, 3);
  deliver(3, 1);
  expect_waiting(a, b.address);
  settle();
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(gets_through(a, there));
}

// A neighbour of the adopter asks before the decision: both outcomes must reach it.
TEST_F(MoverTest, ANeighbourOfTheAdopterIsAnsweredAfterTheDecision) {
  for (const bool is_committed : {false, true}) {
    SCOPED_TRACE(is_committed);
    get_ready();
    const Process near = open_at_once(3);
    query(near, b.address);
    expect_waiting(near, b.address);
    if (is_committed) {
      node(3).introductions.clear();
      settle();
      EXPECT_FALSE(node(3).introductions.empty());
    } else {
      tell(b, wire::MoveCancel{});
      settle();
      expect_relay(near, b.address, 2);
      close(there);
      there = adopt(3, "mover", {}, 5);
      there.address = b.address;
      close(near);
      node(2).told[b.handle].clear();
    }
  }
}

TEST_F(MoverTest, ANeighbourOfAnAdopterThatDiesIsAnswered) {
  prepare();
  const Process near = open(3);
  query(near, b.address);
  expect_waiting(near, b.address);
  close(there);
  settle();
  expect_relay(near, b.address, 2);
}

TEST_F(MoverTest, ANeighbourOfAnAdopterThatDiesAfterTheDecisionHearsTheEnd) {
  commit();
  const Process near = open_at_once(3);
  query(near, b.address);
  expect_waiting(near, b.address);
  close(there);
  settle();
  expect_gone(near, b.address, Errc::peer_died);
}

// It lived here before, so some still ask here while it is on its way back.
TEST_F(MoverTest, OnTheWayBackItIsFoundWhateverTheDecision) {
  commit();
  settle();
  close(b);
  Process back = adopt(2, "mover", {}, 5);
  back.address = b.address;
  tell(there, wire::MoveOut{.target = id(2), .state_bytes = 1}, Bytes(1));
  settle();
  EXPECT_EQ(welcome(back), b.address);
  const Process far = open(1);
  query(far, b.address);
  settle();
  expect_waiting(far, b.address);
  tell(there, wire::MoveCancel{});
  settle();
  expect_relay(far, b.address, 3);
  EXPECT_TRUE(gets_through(far, there));
}

// --- Directory -----------------------------------------------------------------------------------

TEST_F(MoverTest, TheOldNodeCannotTakeTheMovedOneOut) {
  commit();
  settle();
  EXPECT_TRUE(inject(2, 1, wire::Unregister{b.address, 1}).has_value());
  EXPECT_EQ(look_up(a, "mover").second, b.address);
  EXPECT_TRUE(inject(3, 1, wire::Unregister{b.address, 1}).has_value());
  EXPECT_EQ(look_up(a, "mover").first, Errc::unknown_endpoint);
}

// The new place must become known however long the directory takes to be ready.
TEST_F(MoverTest, TheNewPlaceIsRegisteredHoweverLongItTakes) {
  commit();
  deliver(2, 3);
  drop(1, 3);
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(100);
    core(3).on_tick(now);
    drop(1, 3);
  }
  pass(std::chrono::seconds(2));
  restart(2);  // the old place is gone, and must not take the endpoint with it
  settle();
  EXPECT_EQ(look_up(a, "mover"), (Found{Errc{}, b.address}));
}

TEST_F(MoverTest, AnEndWhileTheDirectoryIsNotReadyLeavesNoEntry) {
  install_view({1, 2, 3});
  deliver(3, 1);  // node 2 has not reported: the directory is not ready
  auto held = std::exchange(node(2).lanes[{id(1), Lane::message}], {});
  commit();
  deliver(2, 3);
  deliver(3, 1);
  close(there);
  deliver(3, 1);
  deliver(1, 3);
  auto& lane = node(2).lanes[{id(1), Lane::message}];
  lane.insert(lane.begin(), held.begin(), held.end());
  settle();
  pass(std::chrono::seconds(2));
  EXPECT_EQ(look_up(a, "mover").first, Errc::unknown_endpoint);
}

}  // namespace
}  // namespace dvk::node
