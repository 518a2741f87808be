// Moves of endpoints: who owns the endpoint after anything that may break in the middle.
#include "dvk/node/mover.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

// An endpoint b on node 2 that a on node 1, n on node 2 and t on node 3 talk to, moves to node 3.
class MoverTest : public ClusterTest {
 protected:
  MoverTest()
      : a(open(1)), b(open(2, "mover", 5)), n(open(2)), t(open(3)), there(adopt(3, "mover", {}, 5)) {
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

TEST_F(MoverTest, GoesWellAndAllAreTold) {
  move_out();
  const auto frozen = news(n, b.address);
  ASSERT_TRUE(frozen.has_value());
  EXPECT_EQ(frozen->kind, Kind::wait);
  deliver(2, 3);
  EXPECT_EQ(welcome(there), b.address);
  EXPECT_EQ(node(3).states[there.handle], Bytes(10, std::byte{0x42}));
  tell(there, wire::AdoptReady{});
  settle();
  EXPECT_EQ(move_result(b), Errc{});
  EXPECT_EQ(move_result(there), Errc{});
  expect_relay(a, b.address, 3);
  expect_relay(n, b.address, 3);
  ASSERT_EQ(node(3).introductions.size(), 1U);
  EXPECT_EQ(node(3).introductions[0].first, t.handle);
  expect_at_target();
  close(b);  // the old process ends, the endpoint does not
  expect_at_target();
}

TEST_F(MoverTest, TheAdopterMayComeLater) {
  close(there);
  move_out();
  settle();
  there = adopt(3, "mover", {}, 5);
  EXPECT_EQ(welcome(there), b.address);
  tell(there, wire::AdoptReady{});
  settle();
  there.address = b.address;
  expect_at_target();
}

TEST_F(MoverTest, AdoptsByAddressWhatHasNoName) {
  const Process nameless = open(2, "", 5);
  Process adopter = adopt(3, "", nameless.address, 5);
  tell(nameless, wire::MoveOut{.target = id(3), .state_bytes = 0});
  settle();
  EXPECT_EQ(welcome(adopter), nameless.address);
  EXPECT_TRUE(node(3).states[adopter.handle].empty());
  tell(adopter, wire::AdoptReady{});
  settle();
  adopter.address = nameless.address;
  EXPECT_EQ(move_result(adopter), Errc{});
  query(a, nameless.address);
  settle();
  expect_relay(a, nameless.address, 3);
}

TEST_F(MoverTest, OnlyTheSameUserOrRootInTheSameContainerAdopts) {
  close(there);
  const Process other_user = adopt(3, "mover", {}, 6);
  const Process other_container = adopt(3, "mover", {}, 5, 2);
  const Process other_name = adopt(3, "other", {}, 5);
  move_out();
  settle();
  const Process late = adopt(3, "mover", {}, 6);
  for (const Process& process : {other_user, other_container, other_name, late}) {
    EXPECT_TRUE(hears_nothing(process));
  }
  const Process root = adopt(3, "mover", {}, 0);
  EXPECT_EQ(welcome(root), b.address);
}

TEST_F(MoverTest, OfTwoAdoptersOneGetsItAndTheOtherWaits) {
  const Process second = adopt(3, "mover", {}, 5);
  get_ready();
  EXPECT_TRUE(hears_nothing(second));
  settle();
  EXPECT_EQ(move_result(there), Errc{});
  EXPECT_TRUE(hears_nothing(second));
  close(second);
  expect_at_target();
}

TEST_F(MoverTest, ALargeStateComesInPiecesEachAskedFor) {
  const std::size_t bytes = 3 * Mover::piece_bytes + 1;
  move_out(bytes);
  for (int piece = 0; piece < 4; ++piece) {
    EXPECT_EQ(node(2).under_way<wire::MovePrepare>(id(3)).size(), 1U) << piece;
    EXPECT_TRUE(hears_nothing(there));
    deliver(2, 3);
    deliver(3, 2);
  }
  EXPECT_EQ(welcome(there), b.address);
  EXPECT_EQ(node(3).states[there.handle], Bytes(bytes, std::byte{0x42}));
  tell(there, wire::AdoptReady{});
  expect_at_target();
}

TEST_F(MoverTest, RefusesWhatCannotMove) {
  const auto refused = [&](const Process& process, unsigned target, std::size_t bytes) {
    node(2).told[process.handle].clear();
    tell(process, wire::MoveOut{.target = static_cast<NodeId>(target), .state_bytes = bytes}, Bytes(bytes));
    return move_result(process);
  };
  EXPECT_EQ(refused(b, 2, 1), Errc::invalid_argument);
  EXPECT_EQ(refused(b, 9, 1), Errc::invalid_argument);
  EXPECT_EQ(refused(b, 0, 1), Errc::invalid_argument);
  EXPECT_EQ(refused(b, 3, Mover::state_bytes_max + 1), Errc::message_too_large);
  const Process backup = open_backup(2, "mover");
  EXPECT_EQ(refused(backup, 3, 1), Errc::invalid_argument);
  close(backup);
  expect_at_source();
}

TEST_F(MoverTest, AFrozenEndpointTakesNoPacketsAndMovesNoSecondTime) {
  close(there);
  move_out();
  settle();
  EXPECT_FALSE(gets_through(a, b));
  send_packet(b, a.address);
  settle();
  EXPECT_FALSE(next_packet(a).has_value());
  move_out();
  EXPECT_TRUE(node(2).under_way<wire::MovePrepare>(id(3)).empty());
}

TEST_F(MoverTest, WhoAsksForAFrozenOneWaitsForTheDecision) {
  for (const bool is_committed : {false, true}) {
    SCOPED_TRACE(is_committed);
    prepare();
    settle();
    const Process far = open(1), near = open(2);
    query(far, b.address);
    query(near, b.address);
    settle();
    expect_waiting(far, b.address);
    expect_waiting(near, b.address);
    node(2).introductions.clear();
    if (is_committed) {
      tell(there, wire::AdoptReady{});
      settle();
      expect_relay(far, b.address, 3);
      expect_relay(near, b.address, 3);
    } else {
      tell(b, wire::MoveCancel{});
      settle();
      expect_relay(far, b.address, 2);
      EXPECT_FALSE(node(2).introductions.empty());
      close(there);
      there = adopt(3, "mover", {}, 5);
      there.address = b.address;
      close(near);
    }
  }
}

// --- Given up ------------------------------------------------------------------------------------

TEST_F(MoverTest, CancelledBeforeTheStateArrives) {
  move_out();
  tell(b, wire::MoveCancel{});
  EXPECT_EQ(move_result(b), Errc::cancelled);
  EXPECT_FALSE(node(2).introductions.empty());  // the neighbour has its ring again
  expect_at_source();
  expect_relay(a, b.address, 2);
  tell(b, wire::MoveCancel{});
  EXPECT_TRUE(hears_nothing(b));
}

TEST_F(MoverTest, CancelledWhileTheAdopterLoads) {
  prepare();
  tell(b, wire::MoveCancel{});
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  tell(there, wire::AdoptReady{});  // too late
  expect_at_source();
}

TEST_F(MoverTest, CancelledWhileReadinessIsOnItsWay) {
  get_ready();
  tell(b, wire::MoveCancel{});
  EXPECT_EQ(move_result(b), Errc::cancelled);
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_at_source();
}

TEST_F(MoverTest, ACancelAfterTheDecisionComesTooLate) {
  commit();
  tell(b, wire::MoveCancel{});
  EXPECT_EQ(move_result(b), Errc{});
  EXPECT_TRUE(hears_nothing(b));
  expect_at_target();
}

TEST_F(MoverTest, WithoutAnAdopterItIsGivenUpInTime) {
  close(there);
  move_out();
  settle();
  EXPECT_EQ(core(2).next_deadline(), now + Mover::give_up_after);
  pass(Mover::give_up_after - std::chrono::milliseconds(1));
  EXPECT_TRUE(hears_nothing(b));
  pass(std::chrono::milliseconds(2));
  EXPECT_EQ(move_result(b), Errc::deadline);
  EXPECT_EQ(core(2).next_deadline(), dvs::never);
  expect_at_source();
  // What lay there is gone.
  EXPECT_TRUE(hears_nothing(adopt(3, "mover", {}, 5)));
}

TEST_F(MoverTest, AMoveMayFollowOneThatWasGivenUp) {
  prepare();
  tell(b, wire::MoveCancel{});
  settle();
  close(there);
  node(2).told[b.handle].clear();
  there = adopt(3, "mover", {}, 5);
  there.address = b.address;
  get_ready();
  expect_at_target();
}

// --- Processes that die --------------------------------------------------------------------------

TEST_F(MoverTest, TheAdopterDiesBeforeItIsReady) {
  prepare();
  close(there);
  settle();
  EXPECT_EQ(move_result(b), Errc::peer_died);
  expect_at_source();
}

TEST_F(MoverTest, TheAdopterDiesWhileReadinessIsOnItsWay) {
  get_ready();
  close(there);
  settle();
  EXPECT_EQ(move_result(b), Errc{});  // readiness came first: that was the decision
  expect_dead();
  EXPECT_EQ(news(a, b.address)->kind, Kind::gone);
}

TEST_F(MoverTest, TheAdopterDiesBeforeItHearsTheDecision) {
  commit();
  close(there);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  expect_gone(t, b.address, Errc::peer_died);
  expect_dead();
}

TEST_F(MoverTest, TheAdopterDiesAfterwards) {
  commit();
  settle();
  close(there);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  expect_gone(n, b.address, Errc::peer_died);
  expect_gone(t, b.address, Errc::peer_died);
  expect_dead();
}

TEST_F(MoverTest, TheMovingProcessDies) {
  prepare();
  close(b);
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_gone(a, b.address, Errc::peer_died);
  expect_gone(n, b.address, Errc::peer_died);
  expect_dead();
}

TEST_F(MoverTest, TheMovingProcessDiesWhileReadinessIsOnItsWay) {
  get_ready();
  close(b);
  settle();
  EXPECT_EQ(move_result(there), Errc::cancelled);
  expect_dead();
}

TEST_F(MoverTest, AnotherAdopterTakesThePlaceOfOneThatDied) {
  prepare();
  close(there);
  there = adopt(3, "mover", {}, 5);  // before the source has heard
  there.address = b.address;
  settle();
  // Either way there is one owner: here the source, that was told of the death.
  EXPECT_EQ(move_result(b), Errc::peer_died);
  expect_at_source();
}

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
  EXPECT_TRUE(inject(2, 1, wire::Unregister{b.address}).has_value());
  EXPECT_EQ(look_up(a, "mover").second, b.address);
  EXPECT_TRUE(inject(3, 1, wire::Unregister{b.address}).has_value());
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
