// Ends of peers, moves of the endpoint itself, and new lives.
#include <gtest/gtest.h>

#include "dvk/core/endpoint_core.hpp"
#include "dvk/core/test_endpoints.hpp"

namespace dvk::core {
namespace {

using Kind = Incoming::Kind;
using std::chrono::seconds;

class EndpointLifeTest : public EndpointTest {
 protected:
  void SetUp() override { connect(); }

  void expect_end(TestEndpoint& at, Errc reason, std::uint64_t lost) {
    const auto item = take(at);
    ASSERT_TRUE(item.has_value());
    EXPECT_EQ(item->kind, Kind::peer_end);
    EXPECT_EQ(item->reason, reason);
    EXPECT_EQ(item->lost, lost);
  }
  // `a` stops here and goes on in another process.
  void move_a() {
    a->core.freeze();
    const Bytes state = a->core.save();
    auto moved = std::make_unique<TestEndpoint>(Address{});
    ASSERT_TRUE(moved->core.load(state).has_value());
    EXPECT_TRUE(moved->core.is_frozen());
    EXPECT_EQ(moved->core.self(), test_address(1));
    a = std::move(moved);
    a->core.thaw(now);
  }
};

// --- Ends of peers -------------------------------------------------------------------------------

TEST_F(EndpointLifeTest, AWatchedPeersEndIsTold) {
  a->core.watch(test_address(2), now);
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  expect_end(*a, Errc::peer_died, 0);
  EXPECT_FALSE(take(*a).has_value());
}

TEST_F(EndpointLifeTest, WatchingAsksForARoute) {
  a->core.watch(test_address(7), now);
  EXPECT_EQ(a->carrier.wanted, std::vector{test_address(7)});
}

TEST_F(EndpointLifeTest, WatchingAnEndedPeerTellsAtOnce) {
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  a->core.watch(test_address(2), now);
  expect_end(*a, Errc::peer_died, 0);
}

TEST_F(EndpointLifeTest, AnEndNobodyAskedForIsQuietUnlessSomethingIsLost) {
  a->core.peer_gone(test_address(3), Errc::peer_died, now);
  EXPECT_FALSE(take(*a).has_value());
  send(*a, *b, "taken");
  settle();
  send(*a, *b, "lost");
  ASSERT_TRUE(a->core.notify(test_address(2), 1, now).has_value());
  (void)call(*a, *b, "not counted");
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  expect_end(*a, Errc::peer_died, 2);
}

TEST_F(EndpointLifeTest, AnEndedPeerIsRememberedAndRefused) {
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  EXPECT_EQ(a->core.end_of(test_address(2)), Errc::peer_died);
  EXPECT_EQ(a->core.end_of(test_address(3)), std::nullopt);
  EXPECT_EQ(a->core.send(test_address(2), {}, now).error().code, Errc::peer_died);
  EXPECT_EQ(a->core.start_call(test_address(2), {}, now).error().code, Errc::peer_died);
  EXPECT_EQ(a->core.notify(test_address(2), 1, now).error().code, Errc::peer_died);
  a->core.path_ready(test_address(2), PathKind::lossy, now);
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::unknown);
}

TEST_F(EndpointLifeTest, AStragglerOfAnEndedLifeBeginsNothing) {
  send(*b, *a, "1");
  settle();
  send(*b, *a, "2");
  const auto late = b->carrier.take();
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  EXPECT_EQ(next_text(*a), "1");  // what had arrived stays
  ASSERT_EQ(late.size(), 1U);
  a->core.on_packet(test_address(2), PathKind::lossy, late[0].header, late[0].payload, now);
  PacketHeader first = late[0].header;
  first.sequence = 1;
  a->core.on_packet(test_address(2), PathKind::lossy, first, late[0].payload, now);
  EXPECT_FALSE(take(*a).has_value());
}

TEST_F(EndpointLifeTest, TheMemoryOfEndsIsBounded) {
  for (unsigned serial = 100; serial < 100 + 4097; ++serial) {
    a->core.peer_gone(test_address(serial), Errc::peer_died, now);
    a->core.peer_gone(test_address(serial), Errc::peer_died, now);
  }
  EXPECT_EQ(a->core.end_of(test_address(100)), std::nullopt);
  EXPECT_EQ(a->core.end_of(test_address(101)), Errc::peer_died);
  EXPECT_EQ(a->core.end_of(test_address(100 + 4096)), Errc::peer_died);
}

TEST_F(EndpointLifeTest, AnUnreachablePeerMayComeBack) {
  send(*a, *b, "taken");
  settle();
  send(*a, *b, "unknown outcome");
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  expect_end(*a, Errc::unreachable, 1);
  EXPECT_EQ(a->core.end_of(test_address(2)), std::nullopt);
  a->carrier.take();
  send(*a, *b, "new");
  EXPECT_EQ(a->carrier.wanted.size(), 1U);
  connect();
  settle();
  EXPECT_EQ(next_text(*b), "taken");
  EXPECT_EQ(next_text(*b), "new");
  EXPECT_EQ(next_text(*b), "-");
}

// Only the server gave the path up; the caller knows of no trouble and waits for its reply.
TEST_F(EndpointLifeTest, AReplySurvivesTroubleThatOnlyTheServerSaw) {
  const std::uint64_t number = call(*b, *a, "q");
  settle();
  ASSERT_TRUE(a->core.reply(test_address(2), take(*a)->call, test_bytes("reply"), now).has_value());
  a->carrier.take();  // lost
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  EXPECT_FALSE(take(*a).has_value());  // replies are not counted as lost
  // It does not ask again at once, which would go round in circles, but soon.
  EXPECT_TRUE(a->carrier.wanted.empty());
  for (int i = 1; i <= 3; ++i) {
    const TimePoint due = now + Limits{}.replay_after_max;
    now = due - std::chrono::milliseconds(1);
    a->core.on_tick(now);
    EXPECT_EQ(a->carrier.wanted.size(), static_cast<std::size_t>(i) - 1);
    EXPECT_EQ(a->core.next_deadline(), due);
    now = due;
    a->core.on_tick(now);
    ASSERT_EQ(a->carrier.wanted.size(), static_cast<std::size_t>(i));
    EXPECT_EQ(a->core.next_deadline(), dvs::never);
    if (i < 3) a->core.peer_gone(test_address(2), Errc::unreachable, now);
  }
  a->core.path_ready(test_address(2), path, now);
  settle();
  EXPECT_EQ(end_of_call(*b, number), "reply");
  EXPECT_TRUE(a->core.is_flushed(test_address(2)));
}

// The caller's new path is enough for the server to find the way back.
TEST_F(EndpointLifeTest, AReplyGoesWhenTheCallerIsHeardAgain) {
  const std::uint64_t number = call(*b, *a, "q");
  settle();
  ASSERT_TRUE(a->core.reply(test_address(2), take(*a)->call, test_bytes("reply"), now).has_value());
  a->carrier.take();
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  b->core.path_ready(test_address(1), path, now);
  settle();
  EXPECT_EQ(end_of_call(*b, number), "reply");
}

TEST_F(EndpointLifeTest, AReplyThatWasTakenBeforeTheTroubleIsTakenOnce) {
  const std::uint64_t first = call(*b, *a, "q");
  settle();
  ASSERT_TRUE(a->core.reply(test_address(2), take(*a)->call, test_bytes("reply"), now).has_value());
  deliver(*a, *b);
  EXPECT_EQ(end_of_call(*b, first), "reply");
  const std::uint64_t second = call(*b, *a, "q2");
  b->carrier.take();
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  connect();
  settle();
  EXPECT_EQ(end_of_call(*b, second), "-");  // not the reply to the first
  EXPECT_EQ(end_of_call(*b, first), "invalid_argument");
  ASSERT_TRUE(
      a->core.reply(test_address(2), take(*a)->call, test_bytes("reply 2"), now).has_value());
  settle();
  EXPECT_EQ(end_of_call(*b, second), "reply 2");
}

TEST_F(EndpointLifeTest, AWatchEndsWithTheFirstEnd) {
  a->core.watch(test_address(2), now);
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  expect_end(*a, Errc::unreachable, 0);
  a->core.peer_gone(test_address(2), Errc::unreachable, now);
  EXPECT_FALSE(take(*a).has_value());
}

// The peer knows nothing of our trouble: it repeats what it has no acknowledgement for, and goes on
// with its own numbers.
TEST_F(EndpointLifeTest, WhatAPeerSentIsNotTakenTwiceAfterItWasGivenUp) {
  for (const Errc reason : {Errc::unreachable, Errc::unknown_endpoint, Errc::not_permitted}) {
    SCOPED_TRACE(name_of(reason));
    rebuild({});
    connect();
    send(*b, *a, "1");
    deliver(*b, *a);
    a->carrier.take();  // the acknowledgement is lost
    a->core.peer_gone(test_address(2), reason, now);
    connect();
    settle();
    send(*b, *a, "2");
    settle();
    EXPECT_EQ(next_text(*a), "1");
    EXPECT_EQ(next_text(*a), "2");
    EXPECT_EQ(next_text(*a), "-");
    EXPECT_TRUE(b->core.is_flushed(test_address(1)));
  }
}

// Nor are our own numbers used again: the peer would drop the new ones as had before.
TEST_F(EndpointLifeTest, WhatIsSentAfterARefusalIsTaken) {
  for (const Errc reason : {Errc::unreachable, Errc::unknown_endpoint, Errc::not_permitted}) {
    SCOPED_TRACE(name_of(reason));
    rebuild({});
    connect();
    send(*a, *b, "1");
    settle();
    a->core.peer_gone(test_address(2), reason, now);
    connect();
    send(*a, *b, "2");
    settle();
    EXPECT_EQ(next_text(*b), "1");
    EXPECT_EQ(next_text(*b), "2");
    EXPECT_TRUE(a->core.is_flushed(test_address(2)));
  }
}

TEST_F(EndpointLifeTest, ARefusedStrangerIsForgotten) {
  a->core.watch(test_address(7), now);
  a->core.peer_gone(test_address(7), Errc::unknown_endpoint, now);
  expect_end(*a, Errc::unknown_endpoint, 0);
  EXPECT_EQ(a->core.end_of(test_address(7)), std::nullopt);
  a->carrier.wanted.clear();
  ASSERT_TRUE(a->core.send(test_address(7), {}, now).has_value());  // may ask again
  EXPECT_EQ(a->carrier.wanted.size(), 1U);
}

TEST_F(EndpointLifeTest, MailOfOldEpochsIsStillThereAndItsCreditStaysOld) {
  send(*b, *a, "epoch 1");
  settle();
  b->core.peer_gone(test_address(1), Errc::unreachable, now);
  connect();
  send(*b, *a, "epoch 2");
  settle();
  EXPECT_EQ(next_text(*a), "epoch 1");
  EXPECT_EQ(next_text(*a), "epoch 2");
}

// --- Moving --------------------------------------------------------------------------------------

TEST_F(EndpointLifeTest, AFrozenEndpointRefusesAndDrops) {
  a->core.freeze();
  EXPECT_EQ(a->core.send(test_address(2), {}, now).error().code, Errc::not_ready);
  EXPECT_EQ(a->core.start_call(test_address(2), {}, now).error().code, Errc::not_ready);
  EXPECT_EQ(a->core.notify(test_address(2), 1, now).error().code, Errc::not_ready);
  EXPECT_EQ(a->core.reply(test_address(2), 1, {}, now).error().code, Errc::not_ready);
  send(*b, *a, "dropped, comes again");
  deliver(*b, *a);
  EXPECT_FALSE(take(*a).has_value());
  EXPECT_EQ(a->core.next_deadline(), dvs::never);  // or its library would spin
  now += seconds(1);
  a->core.on_tick(now);
  EXPECT_TRUE(a->carrier.sent.empty());
  a->core.thaw(now);
  EXPECT_FALSE(a->core.is_frozen());
  EXPECT_EQ(a->carrier.wanted, std::vector{test_address(2)});
  connect();
  settle();
  EXPECT_EQ(next_text(*a), "dropped, comes again");
}

TEST_F(EndpointLifeTest, EverythingGoesOnExactlyWhereItStopped) {
  const std::uint64_t answered = call(*a, *b, "answered");
  settle();
  ASSERT_TRUE(b->core.reply(test_address(1), take(*b)->call, test_bytes("reply"), now).has_value());
  settle();
  const std::uint64_t open = call(*a, *b, "open");
  settle();
  const auto request = take(*b);
  send(*b, *a, "in the mailbox");
  ASSERT_TRUE(b->core.notify(test_address(1), 3, now).has_value());
  settle();
  a->core.watch(test_address(2), now);
  a->core.peer_gone(test_address(9), Errc::peer_died, now);
  send(*a, *b, "in flight");
  ASSERT_TRUE(a->core.notify(test_address(2), 1, now).has_value());
  ASSERT_TRUE(a->core.notify(test_address(2), 2, now).has_value());
  a->carrier.take();  // lost with the old process
  move_a();
  EXPECT_EQ(a->carrier.wanted, std::vector{test_address(2)});
  ASSERT_TRUE(b->core.notify(test_address(1), 4, now).has_value());  // joins those in the mailbox
  ASSERT_TRUE(b->core.reply(request->from, request->call, test_bytes("late"), now).has_value());
  connect();
  settle();
  EXPECT_EQ(end_of_call(*a, answered), "reply");
  EXPECT_EQ(end_of_call(*a, open), "late");
  EXPECT_EQ(next_text(*a), "in the mailbox");
  EXPECT_EQ(take(*a)->bits, 7U);
  EXPECT_EQ(next_text(*b), "in flight");
  EXPECT_EQ(take(*b)->bits, 3U);
  EXPECT_FALSE(take(*b).has_value());
  EXPECT_EQ(a->core.end_of(test_address(9)), Errc::peer_died);
  EXPECT_GT(call(*a, *b, "next"), open);
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  expect_end(*a, Errc::peer_died, 0);
}

TEST_F(EndpointLifeTest, MovingAgainAndAgainLosesAndDoublesNothing) {
  std::string sent, taken;
  for (int i = 0; i < 60; ++i) {
    const std::string text(1, static_cast<char>('a' + i % 26));
    send(*a, *b, text);
    sent += text;
    if (i % 3 == 0) deliver(*a, *b);
    if (i % 4 == 0) deliver(*b, *a);
    if (i % 5 != 0) continue;
    move_a();
    connect();
  }
  settle();
  while (const auto item = take(*b)) taken += dvs::as_text(item->payload);
  EXPECT_EQ(taken, sent);
}

TEST_F(EndpointLifeTest, BlockedMessagesAndTheirCreditMoveAlong) {
  int sent = 0;
  for (; a->core.can_send(test_address(2), 4096); ++sent) {
    ASSERT_TRUE(a->core.send(test_address(2), Bytes(4096, std::byte(sent)), now).has_value());
  }
  settle();
  move_a();
  EXPECT_EQ(a->core.send(test_address(2), Bytes(wire::max_message_bytes), now).has_value(),
            a->core.can_send(test_address(2), wire::max_message_bytes));
  connect();
  for (int i = 0; i < sent; ++i) {
    settle();
    const auto item = take(*b);
    ASSERT_TRUE(item.has_value()) << i;
    ASSERT_EQ(item->payload.at(0), std::byte(i));
  }
}

// The receiver moves with a full mailbox: the credit it gives back later counts from there.
TEST_F(EndpointLifeTest, AFullMailboxMovesWithItsCredit) {
  int sent = 0;
  for (; b->core.can_send(test_address(1), 4096); ++sent) {
    ASSERT_TRUE(b->core.send(test_address(1), Bytes(4096, std::byte(sent)), now).has_value());
  }
  settle();
  move_a();
  connect();
  for (int i = 0; i < sent; ++i) {
    settle();
    const auto item = take(*a);
    ASSERT_TRUE(item.has_value()) << i;
    ASSERT_EQ(item->payload.at(0), std::byte(i));
  }
  settle();
  EXPECT_TRUE(b->core.is_flushed(test_address(1)));
}

TEST_F(EndpointLifeTest, ATruncatedOrLengthenedStateIsRefused) {
  send(*a, *b, "in flight");
  send(*b, *a, "mail");
  deliver(*b, *a);
  (void)call(*a, *b, "open");
  ASSERT_TRUE(a->core.notify(test_address(2), 1, now).has_value());
  a->core.peer_gone(test_address(9), Errc::peer_died, now);
  a->core.freeze();
  Bytes state = a->core.save();
  for (std::size_t bytes = 0; bytes < state.size(); ++bytes) {
    TestEndpoint other(Address{});
    const auto loaded = other.core.load(BytesView(state).first(bytes));
    ASSERT_FALSE(loaded.has_value()) << bytes;
    EXPECT_EQ(loaded.error().code, Errc::protocol_violation) << bytes;
  }
  state.push_back({});
  TestEndpoint other(Address{});
  EXPECT_FALSE(other.core.load(state).has_value());
}

TEST_F(EndpointLifeTest, AStateOfAnotherVersionIsRefused) {
  a->core.freeze();
  Bytes state = a->core.save();
  state[0] = std::byte{0x7f};
  TestEndpoint other(Address{});
  EXPECT_EQ(other.core.load(state).error().code, Errc::version_mismatch);
}

// Whatever is in it, a state that loads gives an endpoint that works or at least harms nobody.
TEST_F(EndpointLifeTest, AStateOfRubbishIsRefusedOrHarmless) {
  send(*a, *b, "in flight");
  ASSERT_TRUE(b->core.notify(test_address(1), 1, now).has_value());
  send(*b, *a, "mail");
  deliver(*b, *a);
  (void)call(*a, *b, "open");
  a->core.freeze();
  const Bytes state = a->core.save();
  const auto from_b = b->carrier.take();
  for (std::size_t position = 0; position < state.size(); ++position) {
    for (const auto value : {std::byte{0}, std::byte{1}, std::byte{0x80}, std::byte{0xff}}) {
      Bytes broken = state;
      broken[position] = value;
      TestEndpoint other(Address{});
      if (!other.core.load(broken)) continue;
      other.core.thaw(now);
      other.core.path_ready(test_address(2), PathKind::lossy, now);
      PacketHeader header;
      header.set_source(test_address(2));
      header.kind = PacketKind::notify;
      header.epoch = 1;
      for (std::uint64_t number = 0; number < 5; ++number) {
        header.sequence = number;
        header.acknowledged_epoch = 1;
        header.acknowledged = number;
        header.credit = number << 40;
        other.core.on_packet(test_address(2), PathKind::lossy, header, {}, now);
      }
      for (int i = 0; i < 100 && other.core.take({}, now); ++i) {
      }
      other.core.on_tick(now + seconds(1));
      other.core.peer_gone(test_address(2), Errc::peer_died, now);
    }
  }
}

// --- New lives -----------------------------------------------------------------------------------

TEST_F(EndpointLifeTest, ANewLifeKeepsTheMailAndEndsTheConversations) {
  send(*b, *a, "mail");
  const std::uint64_t number = call(*a, *b, "open");
  settle();
  send(*a, *b, "lost");
  a->core.begin_new_life(test_address(50), now);
  EXPECT_EQ(a->core.self(), test_address(50));
  EXPECT_EQ(end_of_call(*a, number), "unreachable");
  EXPECT_EQ(next_text(*a), "mail");
  expect_end(*a, Errc::unreachable, 1);
  const auto item = take(*a);
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->kind, Kind::promoted);
  EXPECT_EQ(item->from, test_address(50));
  EXPECT_FALSE(take(*a).has_value());
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::unknown);
  // Both begin again at number one, as strangers.
  a->carrier.take();
  b->core.peer_gone(test_address(1), Errc::peer_died, now);
  connect();
  send(*a, *b, "from the new life");
  send(*b, *a, "to the new life");
  settle();
  EXPECT_EQ(take(*b, {.from = test_address(50)})->payload, test_bytes("from the new life"));
  EXPECT_EQ(next_text(*a), "to the new life");
}

TEST_F(EndpointLifeTest, ANewLifeRemembersWhoEnded) {
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  a->core.begin_new_life(test_address(50), now);
  EXPECT_EQ(a->core.end_of(test_address(2)), Errc::peer_died);
}

// A request that was taken before is answered to nobody, without an error.
TEST_F(EndpointLifeTest, ARequestToTheOldLifeNeedsNoAnswer) {
  (void)call(*b, *a, "q");
  settle();
  const auto request = take(*a);
  a->core.begin_new_life(test_address(50), now);
  a->carrier.take();
  EXPECT_TRUE(a->core.reply(request->from, request->call, test_bytes("r"), now).has_value());
  EXPECT_TRUE(a->carrier.sent.empty());
}

}  // namespace
}  // namespace dvk::core
