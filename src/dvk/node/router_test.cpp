// Conversations between nodes: how they are opened, found again and ended.
#include "dvk/node/router.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_router.hpp"

namespace dvk::node {
namespace {

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

// Sent by one that has not heard yet that it was promoted; the peer must not take it for the new
// life's.
TEST_F(RouterTest, APacketOfALifeThatEndedIsDropped) {
  const Process primary = open(1, "name"), b = open(2);
  const Process backup = open_backup(3, "name");
  close(primary);
  settle();
  const auto promoted = next<wire::Promoted>(backup);
  ASSERT_TRUE(promoted.has_value());
  Process now_primary = backup;
  now_primary.address = promoted->address;
  join(now_primary, b);
  send_packet(backup, b.address);  // with the address of its old life
  settle();
  EXPECT_FALSE(next_packet(b).has_value());
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

// Its question came while it was frozen, so the answer could not be told.
TEST_F(RouterTest, TheEndOfAWaitDoesNotOpenWhatWasRefused) {
  const Process a = open(1), b = open(2);
  query(a, b.address);
  tell(a, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  node(1).lanes[{id(2), Lane::message}].clear();
  ASSERT_TRUE(
      inject(2, 1,
             wire::Opened{
                 .from = a.address, .to = b.address, .status = wire::OpenStatus::not_permitted})
          .has_value());
  tell(a, wire::MoveCancel{});
  node(1).told[a.handle].clear();
  ASSERT_TRUE(inject(2, 1, wire::Resumed{b.address}).has_value());
  EXPECT_FALSE(news(a, b.address).has_value());
  EXPECT_EQ(node(1).under_way<wire::Open>(id(2)).size(), 1U);  // it asks once more
}

}  // namespace
}  // namespace dvk::node
