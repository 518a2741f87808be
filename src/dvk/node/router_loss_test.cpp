// Conversations between nodes when links break, and when nodes restart or are lost; and where
// others look for who has moved.
#include <gtest/gtest.h>

#include "dvk/node/test_router.hpp"

namespace dvk::node {
namespace {

class RouterLossTest : public RouterTest {};

// --- Links ---------------------------------------------------------------------------------------

TEST_F(RouterLossTest, ARenewedSessionReopensWithoutAnEnd) {
  const Process a = open(1), b = open(2);
  join(a, b);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 2);
  expect_relay(b, a.address, 1);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterLossTest, ALinkGivenUpMakesPeersUnreachableUntilItIsThereAgain) {
  const Process a = open(1), b = open(2), c = open(3);
  join(a, b);
  join(a, c);
  cut(1, 2);
  settle();
  expect_gone(a, b.address, Errc::unreachable);
  expect_gone(b, a.address, Errc::unreachable);
  EXPECT_FALSE(news(a, c.address).has_value());
  query(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::unreachable);
  heal(1, 2);
  settle();
  EXPECT_TRUE(hears_nothing(a));
  join(a, b);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterLossTest, ARestartedNodeTakesItsEndpointsWithIt) {
  const Process a = open(1), b = open(2), c = open(3);
  join(a, b);
  join(a, c);
  restart(2);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  EXPECT_FALSE(news(a, c.address).has_value());
  EXPECT_TRUE(both_ways(a, c));
}

// Its link is still that of the daemon before when an endpoint of the new one is known here
// already.
TEST_F(RouterLossTest, ARestartDoesNotEndWhatBeganSince) {
  const Process a = open(1);
  drop(1, 2);
  drop(3, 2);
  node(2).restart();
  core(2).install_view(view_, now);
  core(2).on_link_up(id(1), false, now);
  core(2).on_link_up(id(3), false, now);
  core(3).on_link_up(id(2), true, now);
  const Process b = open(2);
  query(a, b.address);
  drop(1, 2);  // it goes to the session before
  core(1).on_link_up(id(2), true, now);
  settle();
  expect_relay(a, b.address, 2);
}

// One that had moved to it is dead, not unknown, also for whom it called and who never called it.
TEST_F(RouterLossTest, ARestartedNodeTakesThoseWithItThatHadMovedThere) {
  const Process a = open(1), b = open(3);
  const Process moved = move(b, 2);
  query(moved, a.address);
  settle();
  query(a, b.address);
  settle();
  expect_relay(a, b.address, 2);
  restart(2);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
}

// Its node restarts, or is lost, before anybody here has heard that it had moved away.
TEST_F(RouterLossTest, WhoMovedJustBeforeTheEndOfItsNodeLives) {
  for (const bool is_lost : {false, true}) {
    const Process a = open(1), b = open(2);
    join(a, b);
    decide_move(b, 3);
    deliver(2, 3);  // the decision
    deliver(3, 1);  // the new place is registered
    if (is_lost) {
      declare_lost(2);
    } else {
      restart(2);
    }
    pass(std::chrono::seconds(1));
    expect_relay(a, b.address, 3);
  }
}

// Whether it began before the node was lost, or after it came back, cannot be known here.
TEST_F(RouterLossTest, OneThatBeganOnALostNodeIsOnlyUnreachable) {
  const Process a = open(1), b = open(2);
  declare_lost(2);
  settle();
  query(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::unreachable);
}

// A neighbour knows that it has lived.
TEST_F(RouterLossTest, WhatANeighbourKnowsCounts) {
  const Process a = open(1), other = open(1), b = open(2);
  Process moved = move(b, 3);
  query(other, b.address);
  settle();
  query(a, b.address);
  declare_lost(3);
  pass(std::chrono::seconds(1));
  expect_gone(a, b.address, Errc::peer_died);
  EXPECT_EQ(moved.node, 3U);
}

// Its Open and the news that it left come late to a node where the other is frozen.
TEST_F(RouterLossTest, WhoMovedOnWhileItWaitedIsToldThatTheWaitIsOver) {
  const Process a = open(2), b = open(3);
  tell(b, wire::MoveOut{.target = id(1), .state_bytes = 1}, Bytes(1));
  query(a, b.address);
  auto held = std::exchange(node(2).lanes[{id(3), Lane::message}], {});
  const Process there = move(a, 1);
  query(there, b.address);
  settle();
  expect_waiting(there, b.address);
  auto& lane = node(2).lanes[{id(3), Lane::message}];
  lane.insert(lane.end(), held.begin(), held.end());
  const wire::Moved moved{a.address, id(1)};
  ASSERT_TRUE(inject(2, 3, wire::Open{.from = a.address, .to = b.address}).has_value());
  ASSERT_TRUE(inject(2, 3, moved).has_value());
  tell(b, wire::MoveCancel{});
  settle();
  expect_relay(there, b.address, 3);
}

// The Open of a node that it has left must not part it from its neighbours.
TEST_F(RouterLossTest, AnOpenFromWhereItWasBeforeIsIgnored) {
  const Process a = open(1), b = open(2);
  const Process there = move(a, 2);
  tell(b, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  query(there, b.address);
  expect_waiting(there, b.address);
  ASSERT_TRUE(inject(1, 2, wire::Open{.from = a.address, .to = b.address}).has_value());
  node(2).introductions.clear();
  tell(b, wire::MoveCancel{});
  EXPECT_EQ(node(2).introductions.size(), 1U);
}

// Else those at its new place are never told how the wait ends.
TEST_F(RouterLossTest, AnOpenFromWhereItWasBeforeComesTooLate) {
  const Process b = open(2);
  const Address a = open(1).address;
  const wire::Open older{.from = a, .to = b.address, .from_moves = 1};
  const wire::Open newer{.from = a, .to = b.address, .from_moves = 2};
  ASSERT_TRUE(inject(3, 2, newer).has_value());
  tell(b, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  ASSERT_TRUE(inject(1, 2, older).has_value());
  drop(1, 2);
  drop(3, 2);
  tell(b, wire::MoveCancel{});
  EXPECT_EQ(node(2).under_way<wire::Resumed>(id(3)).size(), 1U);
  EXPECT_TRUE(node(2).under_way<wire::Resumed>(id(1)).empty());
}

// The first question was answered while it was frozen and could not be told.
TEST_F(RouterLossTest, AskingAgainMayAskTheDirectoryAgain) {
  const Process a = open(2), b = open(2);
  const Process there = move(b, 3);
  restart(2);
  settle();
  const Process c = open(2);
  query(c, there.address);
  deliver(2, 1);
  deliver(1, 2);  // the directory has said where it is
  tell(c, wire::MoveOut{.target = id(1), .state_bytes = 1}, Bytes(1));
  settle();
  tell(c, wire::MoveCancel{});
  settle();
  query(c, there.address);
  settle();
  expect_relay(c, there.address, 3);
  EXPECT_EQ(a.node, 2U);
}

TEST_F(RouterLossTest, ALostNodeThatIsAMemberAgainIsLostNoMore) {
  const Process a = open(2), b = open(1);
  join(a, b);
  declare_lost(3);
  node(3).restart();
  install_view({1, 2, 3});
  core(1).on_link_up(id(3), true, now);
  core(3).on_link_up(id(1), false, now);  // node 2 has no link to it yet
  move(b, 3);
  pass(std::chrono::seconds(1));
  expect_relay(a, b.address, 3);
}

TEST_F(RouterLossTest, ALostNodeTakesItsEndpointsWithIt) {
  const Process a = open(1), b = open(3);
  join(a, b);
  declare_lost(3);
  pass(std::chrono::seconds(1));
  expect_gone(a, b.address, Errc::peer_died);
}

// Only one side gave the link up; the other still believes the conversation open.
TEST_F(RouterLossTest, WhatOneSideGaveUpIsOpenedAgainByTheOther) {
  const Process a = open(1), b = open(2);
  join(a, b);
  core(2).on_link_down(id(1), now);
  expect_gone(b, a.address, Errc::unreachable);
  send_packet(a, b.address);  // answered: not open here
  settle();
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, b));
}

// A burst of packets is answered packet by packet; one opening is enough, and many must not look
// like a circle of places that send it on.
TEST_F(RouterLossTest, ABurstIntoAClosedConversationOpensItOnce) {
  const Process a = open(1), b = open(2);
  join(a, b);
  core(2).on_link_down(id(1), now);
  for (int i = 0; i < 50; ++i) send_packet(a, b.address);
  deliver(1, 2);
  deliver(2, 1);
  EXPECT_EQ(node(1).under_way<wire::Open>(id(2)).size(), 1U);
  settle();
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterLossTest, AnOpeningLostWithItsSessionIsRepeated) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 2);
}

// A process may ask as often as it likes; only places that send it on count against a circle.
TEST_F(RouterLossTest, AskingOftenWhileItOpensIsNoCircle) {
  const Process a = open(1), b = open(2);
  for (int i = 0; i < 20; ++i) query(a, b.address);
  settle();
  expect_relay(a, b.address, 2);
}

TEST_F(RouterLossTest, AnOpeningIsEndedByTheLinksEnd) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  cut(1, 2);
  expect_gone(a, b.address, Errc::unreachable);
}

TEST_F(RouterLossTest, AnAnswerFromAnotherNodeIsNotBelieved) {
  const Process a = open(1), b = open(2);
  join(a, b);
  EXPECT_TRUE(inject(3, 1, wire::Gone{b.address}).has_value());
  EXPECT_TRUE(inject(3, 1, wire::Moved{b.address, id(3)}).has_value());
  EXPECT_TRUE(
      inject(3, 1, wire::Opened{a.address, b.address, wire::OpenStatus::dead, {}}).has_value());
  EXPECT_TRUE(inject(3, 1, wire::Resumed{b.address}).has_value());
  settle();
  EXPECT_TRUE(hears_nothing(a));
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterLossTest, NoNodeOpensAcrossContainers) {
  const Process a = open(1, "", 0, 1), b = open(2, "", 0, 2);
  EXPECT_TRUE(
      inject(1, 2, wire::Open{.from = a.address, .to = b.address, .from_name = {}}).has_value());
  const auto answers = node(2).under_way<wire::Opened>(id(1));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_NE(answers[0].status, wire::OpenStatus::open);
  PacketHeader header;
  header.kind = wire::PacketKind::message;
  header.set_source(a.address);
  header.set_target(b.address);
  header.container = 2;
  Bytes bytes = wire::encode_packet(header, {});
  bytes.insert(bytes.begin(), static_cast<std::byte>(wire::NodeMessageForm::packet));
  EXPECT_TRUE(core(2).on_node_message(id(1), bytes, now).has_value());
  EXPECT_FALSE(next_packet(b).has_value());
}

// --- Places --------------------------------------------------------------------------------------

TEST_F(RouterLossTest, WhoeverMovedIsFollowedAlongTheChain) {
  const Process a = open(1), b = open(2);
  join(a, b);
  Process moved = move(b, 3);
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(both_ways(a, moved));
  moved = move(moved, 2);
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, moved));
}

TEST_F(RouterLossTest, AStrangerFollowsTheChainFromTheBirthplace) {
  const Process a = open(1), b = open(2);
  const Process moved = move(b, 3);
  query(a, b.address);
  settle();
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(both_ways(a, moved));
}

// It lived here, is elsewhere, and talks to somebody here: that is no reason to forget where it
// went.
TEST_F(RouterLossTest, ANodeThatItLeftKnowsWhereItIsThoughItTalksToIt) {
  const Process here = open(3), b = open(1);
  Process moved = move(move(b, 3), 2);
  query(moved, here.address);
  settle();
  expect_relay(moved, here.address, 3);
  node(3).lanes.clear();
  EXPECT_TRUE(inject(1, 3, wire::Open{.from = open(1).address, .to = b.address}).has_value());
  const auto answers = node(3).under_way<wire::Opened>(id(1));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].status, wire::OpenStatus::moved);
  EXPECT_EQ(answers[0].node, id(2));
}

TEST_F(RouterLossTest, WhoMovedAndDiedIsDead) {
  const Process a = open(1), b = open(2);
  const Process moved = move(b, 3);
  close(moved);
  settle();
  query(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  // Also where its last place has forgotten.
  restart(3);
  settle();
  query(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  query(open(2), b.address);
  settle();
}

TEST_F(RouterLossTest, WhereTheBirthplaceForgotTheDirectoryKnows) {
  const Process a = open(1), b = open(2);
  const Process moved = move(b, 3);
  restart(2);
  settle();
  query(a, b.address);
  settle();
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(both_ways(a, moved));
  const Process neighbour = open(2);
  query(neighbour, b.address);
  settle();
  expect_relay(neighbour, b.address, 3);
}

TEST_F(RouterLossTest, ARestartOfTheBirthplaceHarmsNoConversationElsewhere) {
  const Process a = open(1), b = open(2);
  join(a, b);
  const Process moved = move(b, 3);
  news(a, b.address);
  restart(2);
  settle();
  EXPECT_FALSE(news(a, b.address).has_value());
  EXPECT_TRUE(both_ways(a, moved));
}

TEST_F(RouterLossTest, NeighboursBecomeFarAndNearAgain) {
  const Process a = open(1), b = open(1);
  query(a, b.address);
  Process moved = move(b, 2);
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, moved));
  node(1).introductions.clear();
  moved = move(moved, 1);
  ASSERT_EQ(node(1).introductions.size(), 1U);
  EXPECT_EQ(node(1).introductions[0].first, a.handle);
  EXPECT_EQ(node(1).introductions[0].second, moved.handle);
  close(moved);
  expect_gone(a, b.address, Errc::peer_died);
}

TEST_F(RouterLossTest, AFarOneThatArrivesBecomesANeighbour) {
  const Process a = open(1), b = open(2);
  join(a, b);
  const Process moved = move(b, 1);
  ASSERT_EQ(node(1).introductions.size(), 1U);
  EXPECT_EQ(node(1).introductions[0].second, moved.handle);
}

// The notice of the move was lost with a session; the old place says it again.
TEST_F(RouterLossTest, AMoveThatWasNotHeardIsFoundOut) {
  const Process a = open(1), b = open(2);
  join(a, b);
  decide_move(b, 3);
  EXPECT_EQ(node(2).under_way<wire::Moved>(id(1)).size(), 1U);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 3);
}

// A neighbour that knew it, and nobody else does any more.
TEST_F(RouterLossTest, WhoMovedAwayFromItsNeighboursAndDiedIsDead) {
  const Process a = open(2), b = open(1);
  const Process there = move(b, 2);
  query(a, there.address);
  decide_move(there, 3);
  declare_lost(3);  // before it has heard or answered anything
  pass(std::chrono::seconds(1));
  expect_gone(a, there.address, Errc::peer_died);
}

TEST_F(RouterLossTest, ACircleOfPlacesEnds) {
  const Process a = open(1);
  const Address lost{ContainerId{1}, EndpointId{7}, Incarnation{std::uint64_t{2} << 48 | 1000}};
  query(a, lost);
  unsigned asked = 0;
  for (unsigned at = 2; asked < 100; at = at == 2 ? 3 : 2) {
    if (node(1).under_way<wire::Open>(id(at)).empty()) break;
    node(1).lanes.clear();
    ++asked;
    EXPECT_TRUE(
        inject(at, 1, wire::Opened{a.address, lost, wire::OpenStatus::moved, id(at == 2 ? 3 : 2)})
            .has_value());
  }
  EXPECT_LT(asked, 20U);
  settle();
  expect_gone(a, lost, Errc::peer_died);  // somebody said that it had lived
}

// Both ends move at once, each to where the other just left.
TEST_F(RouterLossTest, BothEndsMayMoveAtOnce) {
  const Process a = open(1), b = open(2);
  join(a, b);
  Process a_there = adopt(2, "", a.address), b_there = adopt(3, "", b.address);
  tell(a, wire::MoveOut{.target = id(2), .state_bytes = 1}, Bytes(1));
  tell(b, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  deliver(1, 2);
  deliver(2, 3);
  tell(a_there, wire::AdoptReady{});
  tell(b_there, wire::AdoptReady{});
  settle();
  a_there.address = a.address;
  b_there.address = b.address;
  // As a library does when it thaws.
  query(a_there, b.address);
  query(b_there, a.address);
  settle();
  EXPECT_TRUE(both_ways(a_there, b_there));
}

}  // namespace
}  // namespace dvk::node
