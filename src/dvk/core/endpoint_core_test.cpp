// Mailbox, calls, notifies and paths of an endpoint.
#include "dvk/core/endpoint_core.hpp"

#include <gtest/gtest.h>

#include "dvk/core/test_endpoints.hpp"

namespace dvk::core {
namespace {

using Kind = Incoming::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

PacketHeader packet(unsigned from, std::uint64_t sequence, PacketKind kind, std::uint64_t token = 0,
                    std::uint32_t epoch = 1) {
  PacketHeader header;
  header.set_source(test_address(from));
  header.set_target(test_address(1));
  header.kind = kind;
  header.sequence = sequence;
  header.token = token;
  header.epoch = epoch;
  return header;
}

class EndpointCoreTest : public EndpointTest {
 protected:
  void receive(const PacketHeader& header, std::string_view text = "") {
    PacketHeader exact = header;
    exact.payload_bytes = static_cast<std::uint32_t>(text.size());
    a->core.on_packet(header.source(), PathKind::lossy, exact, dvs::as_bytes(text), now);
  }
};

// --- Messages ------------------------------------------------------------------------------------

TEST_F(EndpointCoreTest, AsksForARouteOnceAndSendsWhenItIsThere) {
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::unknown);
  send(*a, *b, "1");
  send(*a, *b, "2");
  EXPECT_EQ(a->carrier.wanted, std::vector{test_address(2)});
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::waiting);
  EXPECT_TRUE(a->carrier.sent.empty());
  EXPECT_FALSE(a->core.is_flushed(test_address(2)));
  connect();
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::ready);
  settle();
  EXPECT_TRUE(a->core.is_flushed(test_address(2)));
  EXPECT_EQ(next_text(*b), "1");
  EXPECT_EQ(next_text(*b), "2");
  EXPECT_EQ(next_text(*b), "-");
}

// Who sends and flushes must not wait for a receiver that has taken everything and does something
// else.
TEST_F(EndpointCoreTest, TheLastMessageTakenIsAcknowledgedAtOnce) {
  connect();
  send(*b, *a, "1");
  send(*b, *a, "2");
  deliver(*b, *a);
  EXPECT_EQ(next_text(*a), "1");
  EXPECT_TRUE(a->carrier.sent.empty());  // more is there to be taken: that can wait
  EXPECT_EQ(next_text(*a), "2");
  ASSERT_EQ(a->carrier.sent.size(), 1U);
  EXPECT_EQ(a->carrier.sent.front().header.kind, PacketKind::ack);
  EXPECT_EQ(a->carrier.sent.front().header.acknowledged, 2U);
  deliver(*a, *b);
  EXPECT_TRUE(b->core.is_flushed(test_address(1)));
}

TEST_F(EndpointCoreTest, FindRouteAsksWithNothingToSend) {
  EXPECT_TRUE(a->core.find_route(test_address(2)).has_value());
  EXPECT_TRUE(a->core.find_route(test_address(2)).has_value());
  EXPECT_EQ(a->carrier.wanted.size(), 1U);
  connect();
  EXPECT_TRUE(a->core.find_route(test_address(2)).has_value());
  EXPECT_EQ(a->carrier.wanted.size(), 1U);
  EXPECT_EQ(a->core.find_route(test_address(1)).error().code, Errc::invalid_argument);
}

TEST_F(EndpointCoreTest, RefusesWhatCannotBeSent) {
  const auto error = [&](const Address& peer, std::size_t bytes) {
    const auto result = a->core.send(peer, Bytes(bytes), now);
    return result ? Errc{} : result.error().code;
  };
  EXPECT_EQ(error(test_address(1), 0), Errc::invalid_argument);
  EXPECT_EQ(error({}, 0), Errc::invalid_argument);
  EXPECT_EQ(error(test_address(2, 7), 0), Errc::invalid_argument);
  EXPECT_EQ(error(test_address(2), wire::max_message_bytes + 1), Errc::message_too_large);
  EXPECT_EQ(error(test_address(2), wire::max_message_bytes), Errc{});
  EXPECT_EQ(
      a->core.start_call(test_address(2), Bytes(wire::max_message_bytes + 1), now).error().code,
      Errc::message_too_large);
  EXPECT_EQ(a->core.reply(test_address(2), 1, Bytes(wire::max_message_bytes + 1), now).error().code,
            Errc::message_too_large);
  EXPECT_EQ(a->core.notify(test_address(1), 1, now).error().code, Errc::invalid_argument);
}

TEST_F(EndpointCoreTest, AFullQueueRefusesAndSaysSoBefore) {
  const std::size_t bytes = wire::max_message_bytes;
  int taken = 0;
  while (a->core.can_send(test_address(2), bytes)) {
    ASSERT_TRUE(a->core.send(test_address(2), Bytes(bytes), now).has_value());
    ++taken;
  }
  EXPECT_EQ(taken, 5);
  EXPECT_EQ(a->core.send(test_address(2), Bytes(bytes), now).error().code, Errc::queue_full);
  EXPECT_EQ(a->core.start_call(test_address(2), Bytes(bytes), now).error().code, Errc::queue_full);
  EXPECT_TRUE(a->core.can_send(test_address(3), bytes));
}

// A call that was refused has no number: the next one must not end with its result.
TEST_F(EndpointCoreTest, ARefusedCallLeavesNothingBehind) {
  while (a->core.can_send(test_address(2), 60'000)) {
    ASSERT_TRUE(a->core.send(test_address(2), Bytes(60'000), now).has_value());
  }
  EXPECT_FALSE(a->core.start_call(test_address(2), Bytes(60'000), now).has_value());
  const std::uint64_t number = a->core.start_call(test_address(3), {}, now).value();
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  EXPECT_EQ(end_of_call(*a, number), "-");
}

TEST_F(EndpointCoreTest, TakesByFilter) {
  receive(packet(2, 1, PacketKind::message), "m2");
  receive(packet(2, 2, PacketKind::request, 9), "r2");
  receive(packet(3, 1, PacketKind::message), "m3");
  receive(packet(3, 2, PacketKind::request, 9), "r3");
  EXPECT_EQ(next_text(*a, {.from = test_address(3), .only_requests = true}), "r3");
  EXPECT_EQ(next_text(*a, {.from = test_address(3), .only_requests = true}), "-");
  EXPECT_EQ(next_text(*a, {.from = test_address(4)}), "-");
  EXPECT_EQ(next_text(*a, {.only_requests = true}), "r2");
  EXPECT_EQ(next_text(*a, {.from = test_address(3)}), "m3");
  const auto last = take(*a);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->kind, Kind::message);
  EXPECT_EQ(last->from, test_address(2));
  EXPECT_EQ(last->call, 0U);
}

TEST_F(EndpointCoreTest, PacketsFromNobodyOrItselfAreDropped) {
  a->core.on_packet(test_address(1), PathKind::lossy, packet(1, 1, PacketKind::message), {}, now);
  a->core.on_packet({}, PathKind::lossy, packet(0, 1, PacketKind::message), {}, now);
  EXPECT_FALSE(take(*a).has_value());
}

TEST_F(EndpointCoreTest, ManyMessagesFlowAsFastAsTheyAreTaken) {
  connect();
  int sent = 0, taken = 0;
  for (int round = 0; round < 1000 && taken < 300; ++round) {
    while (sent < 300 && a->core.can_send(test_address(2), 4096)) {
      ASSERT_TRUE(a->core.send(test_address(2), Bytes(4096, std::byte(sent)), now).has_value());
      ++sent;
    }
    settle();
    for (auto item = take(*b); item; item = take(*b)) {
      ASSERT_EQ(item->payload.at(0), std::byte(taken));
      ++taken;
    }
  }
  EXPECT_EQ(taken, 300);
}

// --- Calls ---------------------------------------------------------------------------------------

TEST_F(EndpointCoreTest, ACallEndsWithItsReplyOnce) {
  connect();
  const std::uint64_t first = call(*a, *b, "1"), second = call(*a, *b, "2");
  EXPECT_NE(first, second);
  settle();
  const auto one = take(*b), two = take(*b);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->kind, Kind::request);
  EXPECT_EQ(end_of_call(*a, first), "-");
  ASSERT_TRUE(b->core.reply(two->from, two->call, test_bytes("second"), now).has_value());
  ASSERT_TRUE(b->core.reply(one->from, one->call, test_bytes("first"), now).has_value());
  ASSERT_TRUE(b->core.reply(one->from, one->call, test_bytes("again"), now).has_value());
  settle();
  EXPECT_EQ(end_of_call(*a, first), "first");
  EXPECT_EQ(end_of_call(*a, second), "second");
  EXPECT_EQ(end_of_call(*a, first), "invalid_argument");
  EXPECT_EQ(end_of_call(*a, 1000), "invalid_argument");
  EXPECT_FALSE(take(*a).has_value());
}

TEST_F(EndpointCoreTest, OnlyTheCalledOneMayReply) {
  connect();
  const std::uint64_t number = call(*a, *b, "1");
  receive(packet(3, 1, PacketKind::reply, number), "forged");
  EXPECT_EQ(end_of_call(*a, number), "-");
  receive(packet(2, 1, PacketKind::reply, number + 1), "to another call");
  EXPECT_EQ(end_of_call(*a, number), "-");
  receive(packet(2, 2, PacketKind::reply, number), "right");
  EXPECT_EQ(end_of_call(*a, number), "right");
}

TEST_F(EndpointCoreTest, AReplyPassesMessagesThatWaitForCredit) {
  connect();
  const std::uint64_t number = call(*b, *a, "q");
  settle();
  const auto request = take(*a);
  ASSERT_TRUE(request.has_value());
  while (a->core.can_send(test_address(2), 4096)) {
    ASSERT_TRUE(a->core.send(test_address(2), Bytes(4096), now).has_value());
  }
  ASSERT_TRUE(a->core.reply(test_address(2), request->call, test_bytes("r"), now).has_value());
  settle();
  EXPECT_FALSE(a->core.is_flushed(test_address(2)));
  EXPECT_EQ(end_of_call(*b, number), "r");
}

TEST_F(EndpointCoreTest, ACallThatHasNotLeftIsWithdrawnAltogether) {
  const std::uint64_t filler = 60'000;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(a->core.send(test_address(2), Bytes(filler), now).has_value());
  }
  const std::uint64_t number = call(*a, *b, "q");
  a->core.cancel_call(number, now);
  EXPECT_EQ(end_of_call(*a, number), "invalid_argument");
  connect();
  settle();
  while (const auto item = take(*b)) {
    EXPECT_EQ(item->kind, Kind::message);
    settle();
  }
  for (const auto& sent : a->carrier.sent) EXPECT_NE(sent.header.kind, PacketKind::cancel);
}

TEST_F(EndpointCoreTest, WhatWaitedBehindACancelledCallGoes) {
  Limits limits;
  limits.window_cost = 256;
  rebuild(limits);
  connect();
  send(*a, *b, std::string(100, 'x'));
  const std::uint64_t number = call(*a, *b, std::string(100, 'q'));
  send(*a, *b, "small");
  settle();
  a->core.cancel_call(number, now);
  settle();
  EXPECT_EQ(next_text(*b).size(), 100U);
  EXPECT_EQ(next_text(*b), "small");
}

TEST_F(EndpointCoreTest, ACancelledRequestThatNobodyTookIsDroppedAndItsCreditGivenBack) {
  connect();
  std::vector<std::uint64_t> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(call(*a, *b, std::string(60'000, 'q')));
  send(*a, *b, std::string(60'000, 'm'));  // waits for credit
  settle();
  EXPECT_FALSE(a->core.is_flushed(test_address(2)));
  for (const std::uint64_t number : calls) a->core.cancel_call(number, now);
  settle();
  EXPECT_TRUE(a->core.is_flushed(test_address(2)));
  const auto item = take(*b);
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->kind, Kind::message);
  EXPECT_FALSE(take(*b).has_value());
}

TEST_F(EndpointCoreTest, AReplyToACancelledCallIsForgotten) {
  connect();
  const std::uint64_t number = call(*a, *b, "q");
  settle();
  const auto request = take(*b);
  a->core.cancel_call(number, now);
  settle();
  ASSERT_TRUE(b->core.reply(request->from, request->call, test_bytes("late"), now).has_value());
  settle();
  EXPECT_EQ(end_of_call(*a, number), "invalid_argument");
  EXPECT_TRUE(b->core.is_flushed(test_address(1)));
  const std::uint64_t next = call(*a, *b, "q2");
  settle();
  EXPECT_EQ(end_of_call(*a, next), "-");
}

TEST_F(EndpointCoreTest, CancellingAnAnsweredCallTellsNobody) {
  connect();
  const std::uint64_t number = call(*a, *b, "q");
  settle();
  const auto request = take(*b);
  ASSERT_TRUE(b->core.reply(request->from, request->call, {}, now).has_value());
  settle();
  a->core.cancel_call(number, now);
  a->core.cancel_call(12345, now);
  EXPECT_TRUE(a->carrier.sent.empty());
  EXPECT_EQ(end_of_call(*a, number), "invalid_argument");
}

// The cancel that a peer sends concerns its own requests only.
TEST_F(EndpointCoreTest, ACancelDropsOnlyTheSendersRequest) {
  receive(packet(2, 1, PacketKind::request, 5), "two");
  receive(packet(3, 1, PacketKind::request, 5), "three");
  receive(packet(3, 2, PacketKind::cancel, 5));
  receive(packet(3, 3, PacketKind::cancel, 77));
  EXPECT_EQ(next_text(*a), "two");
  EXPECT_EQ(next_text(*a), "-");
}

TEST_F(EndpointCoreTest, CallsEndWithThePeer) {
  for (const Errc reason : {Errc::peer_died, Errc::unreachable, Errc::unknown_endpoint,
                            Errc::not_permitted, Errc::protocol_violation}) {
    SCOPED_TRACE(name_of(reason));
    rebuild({});
    connect();
    const std::uint64_t number = call(*a, *b, "q");
    const std::uint64_t other = a->core.start_call(test_address(3), {}, now).value();
    settle();
    a->core.peer_gone(test_address(2), reason, now);
    EXPECT_EQ(end_of_call(*a, number), name_of(reason));
    EXPECT_EQ(end_of_call(*a, other), "-");
    EXPECT_FALSE(take(*a).has_value());  // the call has said it
  }
}

TEST_F(EndpointCoreTest, AReplyThatCameBeforeTheEndStays) {
  connect();
  const std::uint64_t number = call(*a, *b, "q");
  settle();
  ASSERT_TRUE(b->core.reply(test_address(1), take(*b)->call, test_bytes("r"), now).has_value());
  settle();
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  EXPECT_EQ(end_of_call(*a, number), "r");
}

TEST_F(EndpointCoreTest, AReplyToACallerThatIsGoneIsNoError) {
  receive(packet(2, 1, PacketKind::request, 5));
  a->core.peer_gone(test_address(2), Errc::peer_died, now);
  const auto request = take(*a);
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(a->core.reply(request->from, request->call, {}, now).has_value());
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::unknown);
}

// --- Notifies ------------------------------------------------------------------------------------

TEST_F(EndpointCoreTest, NotifiesGatherInTheMailbox) {
  receive(packet(2, 1, PacketKind::notify, 1));
  receive(packet(2, 2, PacketKind::message), "between");
  receive(packet(2, 3, PacketKind::notify, 6));
  receive(packet(3, 1, PacketKind::notify, 8));
  auto item = take(*a);
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->kind, Kind::notify);
  EXPECT_EQ(item->bits, 7U);
  EXPECT_EQ(next_text(*a), "between");
  receive(packet(2, 4, PacketKind::notify, 16));
  item = take(*a);
  EXPECT_EQ(item->from, test_address(3));
  EXPECT_EQ(item->bits, 8U);
  item = take(*a);
  EXPECT_EQ(item->from, test_address(2));
  EXPECT_EQ(item->bits, 16U);
}

TEST_F(EndpointCoreTest, NoBitIsLostHoweverManyNotifies) {
  connect();
  std::uint64_t seen = 0;
  for (unsigned bit = 0; bit < 64; ++bit) {
    ASSERT_TRUE(a->core.notify(test_address(2), std::uint64_t{1} << bit, now).has_value());
    if (bit % 5 == 0) deliver(*a, *b);
    if (bit % 7 == 0) deliver(*b, *a);
    if (bit % 11 == 0) {
      if (const auto item = take(*b)) seen |= item->bits;
    }
  }
  settle();
  while (const auto item = take(*b)) seen |= item->bits;
  EXPECT_EQ(seen, ~std::uint64_t{0});
}

// --- Clock and carrier ---------------------------------------------------------------------------

TEST_F(EndpointCoreTest, AnIdleEndpointWantsNoWakeUp) {
  EXPECT_EQ(a->core.next_deadline(), dvs::never);
  connect();
  send(*a, *b, "1");
  EXPECT_EQ(a->core.next_deadline(), now + Limits{}.replay_after);
  settle();
  EXPECT_TRUE(a->core.is_flushed(test_address(2)));
  now += seconds(100);
  a->core.on_tick(now);
  b->core.on_tick(now);
  EXPECT_EQ(a->core.next_deadline(), dvs::never);
  EXPECT_EQ(b->core.next_deadline(), dvs::never);
  EXPECT_TRUE(a->carrier.sent.empty());
}

TEST_F(EndpointCoreTest, ALostPacketComesAgain) {
  connect();
  send(*a, *b, "1");
  a->carrier.take();
  send(*a, *b, "2");
  deliver(*a, *b);
  EXPECT_FALSE(take(*b).has_value());
  now += Limits{}.replay_after;
  a->core.on_tick(now);
  settle();
  EXPECT_EQ(next_text(*b), "1");
  EXPECT_EQ(next_text(*b), "2");
}

// Whoever waits for room is told of it; until then a clock that has run out would only spin.
TEST_F(EndpointCoreTest, WithoutRoomTheClockIsNotWhatItWaitsFor) {
  connect();
  receive(packet(2, 1, PacketKind::message), "m");
  a->carrier.room = 0;
  send(*a, *b, "blocked");
  now += seconds(10);
  a->core.on_tick(now);
  EXPECT_GT(a->core.next_deadline(), now);
  a->carrier.room = 100;
  a->core.path_writable(test_address(2), now);
  EXPECT_EQ(a->carrier.sent.size(), 1U);
  EXPECT_EQ(a->carrier.sent[0].header.acknowledged, 1U);
  EXPECT_EQ(a->core.next_deadline(), now + Limits{}.replay_after);
}

TEST_F(EndpointCoreTest, WhatArrivesByRelayOpensTheRelay) {
  receive(packet(2, 1, PacketKind::request, 1), "q");
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::ready);
  EXPECT_TRUE(a->carrier.wanted.empty());
  ASSERT_TRUE(a->core.reply(test_address(2), 1, test_bytes("r"), now).has_value());
  EXPECT_EQ(a->carrier.sent.size(), 1U);
}

TEST_F(EndpointCoreTest, APathThatWaitsHoldsEverything) {
  connect();
  send(*a, *b, "1");
  a->carrier.take();
  a->core.path_waiting(test_address(2));
  EXPECT_EQ(a->core.route_state(test_address(2)), EndpointCore::RouteState::waiting);
  send(*a, *b, "2");
  receive(packet(2, 1, PacketKind::message), "still comes");
  now += seconds(100);
  a->core.on_tick(now);
  EXPECT_TRUE(a->carrier.sent.empty());
  EXPECT_TRUE(a->carrier.wanted.empty());  // the answer comes by itself
  connect();
  settle();
  EXPECT_EQ(next_text(*b), "1");
  EXPECT_EQ(next_text(*b), "2");
  EXPECT_EQ(next_text(*a), "still comes");
}

TEST_F(EndpointCoreTest, PathsOfStrangersAreHarmless) {
  a->core.path_waiting(test_address(9));
  a->core.path_writable(test_address(9), now);
  a->core.on_acknowledgement(test_address(9), {1, 7, 7}, now);
  a->core.path_ready(test_address(9), PathKind::lossless, now);
  EXPECT_EQ(a->core.route_state(test_address(9)), EndpointCore::RouteState::ready);
  EXPECT_TRUE(a->core.is_flushed(test_address(9)));
}

}  // namespace
}  // namespace dvk::core
