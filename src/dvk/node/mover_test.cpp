// Moves of endpoints: that go well, that are given up, and whose processes die.
#include "dvk/node/test_mover.hpp"

namespace dvk::node {
namespace {

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
    tell(process, wire::MoveOut{.target = static_cast<NodeId>(target), .state_bytes = bytes},
         Bytes(bytes));
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

// Who was introduced to it while it was about to ask stands before a closed door.
TEST_F(MoverTest, AfterARefusalItIsIntroducedToItsNeighboursAgain) {
  tell(b, wire::MoveOut{.target = id(9)});
  EXPECT_EQ(move_result(b), Errc::invalid_argument);
  EXPECT_EQ(node(2).introductions.size(), 1U);
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

}  // namespace
}  // namespace dvk::node
