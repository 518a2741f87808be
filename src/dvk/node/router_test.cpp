// Conversations between nodes: how they are opened, found again and ended.
#include "dvk/node/router.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

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

// --- On one node ---------------------------------------------------------------------------------

TEST_F(RouterTest, NeighboursGetARing) {
  const Process a = open(1, "", 5), b = open(1, "", 5), c = open(1, "", 6);
  query(a, b.address);
  ASSERT_EQ(node(1).introductions.size(), 1U);
  EXPECT_EQ(node(1).introductions[0].first, a.handle);
  EXPECT_EQ(node(1).introductions[0].second, b.handle);
  EXPECT_TRUE(node(1).introductions[0].is_trusted);
  query(c, b.address);
  EXPECT_FALSE(node(1).introductions.at(1).is_trusted);  // another user
  EXPECT_TRUE(hears_nothing(a));
}

TEST_F(RouterTest, TheEndOfANeighbourIsTold) {
  const Process a = open(1), b = open(1);
  query(a, b.address);
  close(b);
  expect_gone(a, b.address, Errc::peer_died);
  query(a, b.address);  // asked again, still so
  expect_gone(a, b.address, Errc::peer_died);
}

TEST_F(RouterTest, QueriesThatMakeNoSenseAreIgnored) {
  const Process a = open(1, "", 0, 1), other = open(1, "", 0, 2), remote = open(2, "", 0, 2);
  query(a, a.address);
  query(a, other.address);
  query(a, remote.address);
  settle();
  EXPECT_TRUE(hears_nothing(a));
  EXPECT_TRUE(node(1).introductions.empty());
  // The right life in the wrong container is nobody.
  query(a, {ContainerId{1}, other.address.id, other.address.incarnation});
  settle();
  EXPECT_TRUE(node(1).introductions.empty());
}

// --- Between nodes -------------------------------------------------------------------------------

TEST_F(RouterTest, OpensAndCarriesPacketsBothWays) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  settle();
  const auto route = news(a, b.address);
  ASSERT_TRUE(route.has_value());
  EXPECT_EQ(route->kind, Kind::relay);
  EXPECT_EQ(route->node, id(2));
  EXPECT_TRUE(route->is_reset);
  EXPECT_TRUE(hears_nothing(b));  // it will hear the first packet
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterTest, AskingAgainGivesTheSameAnswer) {
  const Process a = open(1), b = open(2);
  join(a, b);
  query(a, b.address);
  settle();
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterTest, TheSourceOfAPacketIsWhoSentIt) {
  const Process a = open(1), b = open(2), c = open(1);
  join(a, b);
  PacketHeader header;
  header.kind = wire::PacketKind::message;
  header.set_source(c.address);
  header.set_target(b.address);
  core(1).on_process_packet(a.handle, header, {}, now);
  settle();
  const auto packet = next_packet(b);
  ASSERT_TRUE(packet.has_value());
  EXPECT_EQ(packet->header.source(), a.address);
}

TEST_F(RouterTest, PacketsWithoutAnOpenConversationAreDropped) {
  const Process a = open(1), b = open(2), foreign = open(2, "", 0, 2);
  EXPECT_FALSE(gets_through(a, b));
  send_packet(a, foreign.address);
  send_packet(a, {});
  settle();
  EXPECT_FALSE(next_packet(foreign).has_value());
}

TEST_F(RouterTest, AnUnknownLifeIsUnknownAndADeadOneDead) {
  const Process a = open(1), b = open(2), c = open(3, "named");
  close(b);
  close(c);
  settle();
  for (const Process& dead : {b, c}) {
    query(a, dead.address);
    settle();
    expect_gone(a, dead.address, Errc::peer_died);
  }
  const Address never{ContainerId{1}, EndpointId{1},
                      Incarnation{raw(b.address.incarnation) + 1000}};
  query(a, never);
  settle();
  expect_gone(a, never, Errc::unknown_endpoint);
}

TEST_F(RouterTest, ALifeBornHereThatNeverWasIsUnknown) {
  const Process a = open(1);
  const Address never{ContainerId{1}, EndpointId{1},
                      Incarnation{raw(a.address.incarnation) + 1000}};
  query(a, never);
  settle();
  expect_gone(a, never, Errc::unknown_endpoint);
}

TEST_F(RouterTest, ALifeBeforeTheDaemonsRestartIsDead) {
  const Process a = open(1), b = open(2);
  restart(2);
  settle();
  query(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  const Process neighbour = open(2);
  query(neighbour, b.address);
  settle();
  expect_gone(neighbour, b.address, Errc::peer_died);
}

TEST_F(RouterTest, TheEndOfAnEndpointIsToldToAllItTalkedTo) {
  const Process a = open(1), b = open(2), c = open(3);
  join(a, b);
  join(c, b);
  close(b);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  expect_gone(c, b.address, Errc::peer_died);
}

// The notice of the end was lost with a session.
TEST_F(RouterTest, AnEndThatWasNotHeardIsFoundOut) {
  const Process a = open(1), b = open(2);
  join(a, b);
  close(b);
  renew_session(1, 2);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
}

TEST_F(RouterTest, APacketForTheDeadIsAnsweredWithItsEnd) {
  const Process a = open(1), b = open(2);
  join(a, b);
  close(b);
  node(2).lanes.clear();
  send_packet(a, b.address);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
}

// --- Privileges ----------------------------------------------------------------------------------

class RouterPolicyTest : public RouterTest {
 protected:
  RouterPolicyTest() {
    const Policy policy({{ContainerId{1}, {.bind = {}, .talk = {{"client*", "server*"}}}}});
    for (unsigned number = 1; number <= node_count; ++number) node(number).restart(policy);
    install_view({1, 2, 3});
    settle();
  }
};

TEST_F(RouterPolicyTest, RulesHoldOnOneNodeAndBetweenNodes) {
  const Process client = open(1, "client"), server = open(1, "server"), far = open(2, "server2");
  const Process stranger = open(1, "stranger");
  query(client, server.address);
  EXPECT_EQ(node(1).introductions.size(), 1U);
  query(client, far.address);
  settle();
  expect_relay(client, far.address, 2);
  query(far, client.address);
  settle();
  expect_relay(far, client.address, 1);
  for (const Address& peer : {server.address, far.address}) {
    query(stranger, peer);
    settle();
    expect_gone(stranger, peer, Errc::not_permitted);
  }
  query(far, stranger.address);
  settle();
  expect_gone(far, stranger.address, Errc::not_permitted);
  EXPECT_EQ(node(1).introductions.size(), 1U);
  EXPECT_FALSE(gets_through(stranger, far));
}

// --- Links ---------------------------------------------------------------------------------------

TEST_F(RouterTest, ARenewedSessionReopensWithoutAnEnd) {
  const Process a = open(1), b = open(2);
  join(a, b);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 2);
  expect_relay(b, a.address, 1);
  EXPECT_TRUE(both_ways(a, b));
}

TEST_F(RouterTest, ALinkGivenUpMakesPeersUnreachableUntilItIsThereAgain) {
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

TEST_F(RouterTest, ARestartedNodeTakesItsEndpointsWithIt) {
  const Process a = open(1), b = open(2), c = open(3);
  join(a, b);
  join(a, c);
  restart(2);
  settle();
  expect_gone(a, b.address, Errc::peer_died);
  EXPECT_FALSE(news(a, c.address).has_value());
  EXPECT_TRUE(both_ways(a, c));
}

TEST_F(RouterTest, ALostNodeTakesItsEndpointsWithIt) {
  const Process a = open(1), b = open(3);
  join(a, b);
  core(1).on_node_lost(id(3), now);
  expect_gone(a, b.address, Errc::peer_died);
}

// Only one side gave the link up; the other still believes the conversation open.
TEST_F(RouterTest, WhatOneSideGaveUpIsOpenedAgainByTheOther) {
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
TEST_F(RouterTest, ABurstIntoAClosedConversationOpensItOnce) {
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

TEST_F(RouterTest, AnOpeningLostWithItsSessionIsRepeated) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 2);
}

// A process may ask as often as it likes; only places that send it on count against a circle.
TEST_F(RouterTest, AskingOftenWhileItOpensIsNoCircle) {
  const Process a = open(1), b = open(2);
  for (int i = 0; i < 20; ++i) query(a, b.address);
  settle();
  expect_relay(a, b.address, 2);
}

TEST_F(RouterTest, AnOpeningIsEndedByTheLinksEnd) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  cut(1, 2);
  expect_gone(a, b.address, Errc::unreachable);
}

TEST_F(RouterTest, AnAnswerFromAnotherNodeIsNotBelieved) {
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

TEST_F(RouterTest, NoNodeOpensAcrossContainers) {
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

TEST_F(RouterTest, WhoeverMovedIsFollowedAlongTheChain) {
  const Process a = open(1), b = open(2);
  join(a, b);
  Process moved = move(b, 3);
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(both_ways(a, moved));
  moved = move(moved, 2);
  expect_relay(a, b.address, 2);
  EXPECT_TRUE(both_ways(a, moved));
}

TEST_F(RouterTest, AStrangerFollowsTheChainFromTheBirthplace) {
  const Process a = open(1), b = open(2);
  const Process moved = move(b, 3);
  query(a, b.address);
  settle();
  expect_relay(a, b.address, 3);
  EXPECT_TRUE(both_ways(a, moved));
}

// It lived here, is elsewhere, and talks to somebody here: that is no reason to forget where it went.
TEST_F(RouterTest, ANodeThatItLeftKnowsWhereItIsThoughItTalksToIt) {
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

TEST_F(RouterTest, WhoMovedAndDiedIsDead) {
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

TEST_F(RouterTest, WhereTheBirthplaceForgotTheDirectoryKnows) {
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

TEST_F(RouterTest, ARestartOfTheBirthplaceHarmsNoConversationElsewhere) {
  const Process a = open(1), b = open(2);
  join(a, b);
  const Process moved = move(b, 3);
  news(a, b.address);
  restart(2);
  settle();
  EXPECT_FALSE(news(a, b.address).has_value());
  EXPECT_TRUE(both_ways(a, moved));
}

TEST_F(RouterTest, NeighboursBecomeFarAndNearAgain) {
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

TEST_F(RouterTest, AFarOneThatArrivesBecomesANeighbour) {
  const Process a = open(1), b = open(2);
  join(a, b);
  const Process moved = move(b, 1);
  ASSERT_EQ(node(1).introductions.size(), 1U);
  EXPECT_EQ(node(1).introductions[0].second, moved.handle);
}

// The notice of the move was lost with a session; the old place says it again.
TEST_F(RouterTest, AMoveThatWasNotHeardIsFoundOut) {
  const Process a = open(1), b = open(2);
  join(a, b);
  const Process there = adopt(3, "", b.address);
  tell(b, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  deliver(2, 3);
  tell(there, wire::AdoptReady{});
  deliver(3, 2);
  EXPECT_EQ(node(2).under_way<wire::Moved>(id(1)).size(), 1U);
  renew_session(1, 2);
  settle();
  expect_relay(a, b.address, 3);
}

TEST_F(RouterTest, ACircleOfPlacesEnds) {
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
TEST_F(RouterTest, BothEndsMayMoveAtOnce) {
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
