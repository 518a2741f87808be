// One half of a conversation: sending, paths, acknowledgements.
#include "dvk/core/test_conversation.hpp"

namespace dvk::core {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- Sending -------------------------------------------------------------------------------------

TEST_F(ConversationTest, HeadersSayWhoAndWhichNumber) {
  a.message("hello");
  a.message();
  ASSERT_TRUE(a.flush());
  ASSERT_EQ(a.carrier.sent.size(), 2U);
  const PacketHeader& header = a.carrier.sent[0].header;
  EXPECT_EQ(a.carrier.sent[0].peer, test_address(2));
  EXPECT_EQ(header.source(), test_address(1));
  EXPECT_EQ(header.target(), test_address(2));
  EXPECT_EQ(header.kind, PacketKind::message);
  EXPECT_EQ(header.epoch, 1U);
  EXPECT_EQ(header.sequence, 1U);
  EXPECT_EQ(header.payload_bytes, 5U);
  EXPECT_EQ(header.acknowledged_epoch, 1U);
  EXPECT_EQ(header.acknowledged, 0U);
  EXPECT_EQ(header.credit, a.limits.window_cost);
  EXPECT_EQ(a.carrier.sent[1].header.sequence, 2U);
  EXPECT_FALSE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, NothingLeavesWithoutAPath) {
  a.conversation.set_path(PathKind::none);
  a.message();
  EXPECT_TRUE(a.flush());
  EXPECT_TRUE(a.carrier.sent.empty());
  EXPECT_EQ(a.conversation.next_deadline(), dvs::never);
  EXPECT_FALSE(a.conversation.on_tick(test_start + seconds(100)));
  a.conversation.set_path(PathKind::lossy);
  EXPECT_TRUE(a.flush());
  EXPECT_EQ(a.carrier.sent.size(), 1U);
}

TEST_F(ConversationTest, MessagesWaitForCreditAndGoWhenItComesBack) {
  for (const char* text : {"1", "2", "3", "4", "5"}) {
    a.message(text);  // 65 each: the window holds three
  }
  a.flush();
  EXPECT_EQ(carry(a, b), (Texts{"1", "2", "3"}));
  b.conversation.release(1, 65, test_start);  // enough to be worth an acknowledgement
  b.flush();
  carry(b, a);
  a.flush();
  EXPECT_EQ(carry(a, b), Texts{"4"});
  b.conversation.release(1, 65, test_start);
  b.flush();
  carry(b, a);
  a.flush();
  EXPECT_EQ(carry(a, b), Texts{"5"});
}

TEST_F(ConversationTest, QueueIsFullOnlyForWhatUsesCredit) {
  for (int i = 0; i < 8; ++i) a.message();
  EXPECT_FALSE(a.conversation.has_room(0));
  EXPECT_EQ(a.conversation.submit(PacketKind::message, 0, {}).error().code, Errc::queue_full);
  EXPECT_EQ(a.conversation.submit(PacketKind::request, 1, {}).error().code, Errc::queue_full);
  EXPECT_TRUE(a.conversation.submit(PacketKind::reply, 1, test_bytes("r")).has_value());
  EXPECT_TRUE(a.conversation.submit(PacketKind::cancel, 2, {}).has_value());
  a.conversation.notify(1);
  a.flush();
  EXPECT_EQ(a.kinds_sent(), (Kinds{PacketKind::message, PacketKind::message, PacketKind::message,
                                   PacketKind::message, PacketKind::reply, PacketKind::cancel,
                                   PacketKind::notify}));
  // What is acknowledged makes room again, though it has not been taken.
  a.conversation.on_acknowledgement({1, 2, 0}, test_start);
  EXPECT_TRUE(a.conversation.has_room(packet_cost));
  EXPECT_FALSE(a.conversation.has_room(packet_cost + 1));
}

TEST_F(ConversationTest, AnEmptyQueueTakesAnything) {
  EXPECT_TRUE(a.conversation.has_room(1'000'000));
}

TEST_F(ConversationTest, NotifiesAreOneInFlightAndOneGathering) {
  a.conversation.notify(1);
  a.flush();
  a.conversation.notify(2);
  a.conversation.notify(4);
  a.flush();
  ASSERT_EQ(a.carrier.sent.size(), 1U);
  EXPECT_EQ(a.carrier.sent[0].header.token, 1U);
  EXPECT_FALSE(a.conversation.is_flushed());
  a.conversation.on_acknowledgement({1, 1, 0}, test_start);
  a.flush();
  ASSERT_EQ(a.carrier.sent.size(), 2U);
  EXPECT_EQ(a.carrier.sent[1].header.token, 6U);
  EXPECT_EQ(a.carrier.sent[1].header.sequence, 2U);
  a.conversation.on_acknowledgement({1, 2, 0}, test_start);
  EXPECT_TRUE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, AnAcknowledgementBeforeTheNotifyLeavesItInFlight) {
  a.message();
  a.conversation.notify(1);
  a.flush();
  a.conversation.notify(2);
  a.conversation.on_acknowledgement({1, 1, 0}, test_start);
  a.flush();
  EXPECT_EQ(a.carrier.sent.size(), 2U);  // still one notify
}

TEST_F(ConversationTest, NotifyOfNoBitsSendsNothing) {
  a.conversation.notify(0);
  a.flush();
  EXPECT_TRUE(a.carrier.sent.empty());
  EXPECT_TRUE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, WithdrawsOnlyARequestThatStillWaits) {
  for (int i = 0; i < 4; ++i) a.message();
  ASSERT_TRUE(a.conversation.submit(PacketKind::request, 7, test_bytes("request")).has_value());
  EXPECT_FALSE(a.conversation.withdraw_request(8));
  EXPECT_TRUE(a.conversation.withdraw_request(7));
  EXPECT_FALSE(a.conversation.withdraw_request(7));
  a.conversation.on_acknowledgement({1, 0, 100 * packet_cost}, test_start);
  a.flush();
  EXPECT_EQ(a.carrier.sent.size(), 4U);
}

TEST_F(ConversationTest, ANumberedRequestIsNotWithdrawn) {
  ASSERT_TRUE(a.conversation.submit(PacketKind::request, 7, {}).has_value());
  EXPECT_FALSE(a.conversation.withdraw_request(7));
}

TEST_F(ConversationTest, AMessageWithTheTokenOfARequestIsNotWithdrawn) {
  for (int i = 0; i < 4; ++i) a.message();
  a.message("waits, token 0");
  EXPECT_FALSE(a.conversation.withdraw_request(0));
}

// Nothing else would come to move it: the peer has no reason to acknowledge again.
TEST_F(ConversationTest, WhatWaitedBehindAWithdrawnRequestGoes) {
  a.message();
  a.message();
  ASSERT_TRUE(a.conversation.submit(PacketKind::request, 7, Bytes(packet_cost + 1)).has_value());
  a.message("small");
  a.flush();
  EXPECT_EQ(a.carrier.take().size(), 2U);
  EXPECT_TRUE(a.conversation.withdraw_request(7));
  a.flush();
  EXPECT_EQ(carry(a, b), Texts{});  // the two before never came, so this is a gap for b
  a.conversation.set_path(PathKind::lossy);
  a.flush();
  EXPECT_EQ(carry(a, b), (Texts{"", "", "small"}));
}

TEST_F(ConversationTest, AFullCarrierGetsTheRestLater) {
  for (const char* text : {"1", "2", "3"}) a.message(text);
  a.carrier.room = 2;
  EXPECT_FALSE(a.flush());
  EXPECT_FALSE(a.flush());
  EXPECT_EQ(a.carrier.sent.size(), 2U);
  a.carrier.room = 2;
  EXPECT_TRUE(a.flush());
  EXPECT_EQ(carry(a, b), (Texts{"1", "2", "3"}));
}

// --- Paths ---------------------------------------------------------------------------------------

TEST_F(ConversationTest, ANewPathRepeatsWhatIsUnacknowledgedAndNothingElse) {
  for (const char* text : {"1", "2", "3"}) a.message(text);
  a.flush();
  EXPECT_EQ(carry(a, b), (Texts{"1", "2", "3"}));
  a.conversation.on_acknowledgement({1, 1, 0}, test_start);
  a.conversation.set_path(PathKind::lossless);
  a.flush();
  ASSERT_EQ(a.carrier.sent.size(), 2U);
  EXPECT_EQ(a.carrier.sent[0].header.sequence, 2U);
  EXPECT_EQ(a.carrier.sent[1].header.sequence, 3U);
  EXPECT_EQ(carry(a, b), Texts{});  // had them
}

TEST_F(ConversationTest, ALosslessPathPublishesAtOnceAndNeverRepeatsByTimer) {
  a.conversation.set_path(PathKind::lossless);
  b.conversation.set_path(PathKind::lossless);
  a.message();
  a.flush();
  EXPECT_EQ(a.conversation.next_deadline(), dvs::never);
  EXPECT_FALSE(a.conversation.on_tick(test_start + seconds(100)));
  carry(a, b);
  b.flush();
  EXPECT_TRUE(b.carrier.sent.empty());
  ASSERT_FALSE(b.carrier.published.empty());
  EXPECT_EQ(b.carrier.published.back().first, test_address(1));
  EXPECT_EQ(b.carrier.published.back().second, (Acknowledgement{1, 1, b.limits.window_cost}));
  a.conversation.on_acknowledgement(b.carrier.published.back().second, test_start);
  EXPECT_TRUE(a.conversation.is_flushed());
}

// What the old path carried of acknowledgements and credit may be lost with it, and when everything
// was acknowledged nothing is repeated that would be answered.
TEST_F(ConversationTest, ANewPathIsToldWhatWasTaken) {
  for (int i = 0; i < 6; ++i) a.message();
  a.flush();
  carry(a, b);
  b.flush();
  carry(b, a);  // acknowledges four, gives no credit
  b.conversation.release(1, 4 * packet_cost, test_start);
  b.flush();
  b.carrier.take();  // lost with the path
  for (const PathKind path : {PathKind::lossless, PathKind::lossy}) {
    a.conversation.set_path(path);
    b.conversation.set_path(path);
    a.flush();
    EXPECT_EQ(carry(a, b), Texts{});  // it has nothing to repeat
    b.carrier.published.clear();
    b.flush();
    if (path == PathKind::lossless) {
      ASSERT_EQ(b.carrier.published.size(), 1U);
      EXPECT_EQ(b.carrier.published[0].second.credit, 8 * packet_cost);
    } else {
      ASSERT_EQ(b.carrier.sent.size(), 1U);
      EXPECT_EQ(b.carrier.sent[0].header.kind, PacketKind::ack);
      EXPECT_EQ(b.carrier.sent[0].header.credit, 8 * packet_cost);
    }
  }
  carry(b, a);
  a.flush();
  EXPECT_EQ(carry(a, b).size(), 2U);
}

TEST_F(ConversationTest, AFreshConversationHasNothingToTellItsPath) {
  EXPECT_TRUE(a.flush());
  EXPECT_TRUE(a.carrier.sent.empty());
  a.conversation.set_path(PathKind::lossless);
  EXPECT_TRUE(a.flush());
  EXPECT_TRUE(a.carrier.published.empty());
}

// --- Acknowledgements ----------------------------------------------------------------------------

TEST_F(ConversationTest, AnAcknowledgementWaitsForItsDelay) {
  a.message();
  a.flush();
  carry(a, b);
  b.flush();
  EXPECT_TRUE(b.carrier.sent.empty());
  EXPECT_EQ(b.conversation.next_deadline(), test_start + b.limits.acknowledge_delay);
  const TimePoint due = test_start + b.limits.acknowledge_delay;
  EXPECT_FALSE(b.conversation.on_tick(due - milliseconds(1)));
  EXPECT_TRUE(b.conversation.on_tick(due));
  b.flush(due);
  ASSERT_EQ(b.carrier.sent.size(), 1U);
  const PacketHeader header = b.carrier.sent[0].header;
  EXPECT_EQ(header.kind, PacketKind::ack);
  EXPECT_EQ(header.sequence, 0U);
  EXPECT_EQ(header.acknowledged, 1U);
  EXPECT_EQ(b.conversation.next_deadline(), dvs::never);
  carry(b, a, due);
  EXPECT_TRUE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, AnAcknowledgementRidesOnAPacketThatGoesAnyway) {
  a.message();
  a.flush();
  carry(a, b);
  b.message();
  b.flush();
  EXPECT_EQ(b.conversation.next_deadline(), test_start + b.limits.replay_after);
  ASSERT_EQ(b.carrier.sent.size(), 1U);
  EXPECT_EQ(b.carrier.sent[0].header.acknowledged, 1U);
  b.conversation.on_acknowledgement({1, 1, 0}, test_start);
  EXPECT_EQ(b.conversation.next_deadline(), dvs::never);
}

TEST_F(ConversationTest, ManyOwedAcknowledgementsDoNotWait) {
  for (int i = 0; i < 3; ++i) a.message();
  a.flush();
  carry(a, b);
  b.flush();
  ASSERT_EQ(b.carrier.sent.size(), 1U);
  EXPECT_EQ(b.carrier.sent[0].header.acknowledged, 3U);
  b.flush();
  EXPECT_EQ(b.carrier.sent.size(), 1U);
}

TEST_F(ConversationTest, AnAcknowledgementThatFoundNoRoomIsStillOwed) {
  for (int i = 0; i < 3; ++i) a.message();
  a.flush();
  carry(a, b);
  b.carrier.room = 0;
  EXPECT_FALSE(b.flush());
  b.carrier.room = 1;
  EXPECT_TRUE(b.flush());
  EXPECT_EQ(b.carrier.sent.size(), 1U);
}

TEST_F(ConversationTest, SmallReleasesAreGatheredLargeOnesAnnounced) {
  for (int i = 0; i < 3; ++i) a.message();
  a.flush();
  carry(a, b);
  b.flush();
  b.carrier.take();
  b.conversation.release(1, packet_cost - 1, test_start);
  EXPECT_EQ(b.conversation.next_deadline(), dvs::never);
  b.conversation.release(1, 1, test_start);
  EXPECT_EQ(b.conversation.next_deadline(), test_start);
  b.flush();
  ASSERT_EQ(b.carrier.sent.size(), 1U);
  EXPECT_EQ(b.carrier.sent[0].header.credit, 5 * packet_cost);
}

TEST_F(ConversationTest, DuplicatesAreDroppedAndAcknowledgedAtOnce) {
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 1), test_start));
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 1), test_start));
  EXPECT_EQ(b.conversation.next_deadline(), test_start);
  b.flush();
  ASSERT_EQ(b.carrier.sent.size(), 1U);
  EXPECT_EQ(b.carrier.sent[0].header.acknowledged, 1U);
}

TEST_F(ConversationTest, WhatComesAfterAGapIsDroppedAndTheGapTold) {
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 1), test_start));
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 3), test_start));
  EXPECT_EQ(b.conversation.next_deadline(), test_start);
  b.flush();
  EXPECT_EQ(b.carrier.sent[0].header.acknowledged, 1U);
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 2), test_start));
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 3), test_start));
}

}  // namespace
}  // namespace dvk::core
