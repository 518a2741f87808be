// How a conversation is broken off and goes on in its next epoch, and how it travels in a move.
#include <gtest/gtest.h>

#include "dvk/core/conversation.hpp"
#include "dvk/core/test_carrier.hpp"

namespace dvk::core {
namespace {

constexpr std::uint64_t packet_cost = 64;

class ConversationEpochTest : public ::testing::Test {
 protected:
  static Limits small_limits() {
    Limits limits;
    limits.window_cost = 4 * packet_cost;
    limits.send_queue_cost = 8 * packet_cost;
    limits.packet_cost = packet_cost;
    return limits;
  }
  void SetUp() override { a.set_path(PathKind::lossy); }

  void message(std::string_view text = "") {
    EXPECT_TRUE(a.submit(PacketKind::message, 0, test_bytes(text)).has_value());
  }
  static PacketHeader from_peer(std::uint64_t sequence, std::uint32_t epoch,
                                Acknowledgement acknowledgement = {}) {
    PacketHeader header;
    header.set_source(test_address(2));
    header.kind = PacketKind::message;
    header.sequence = sequence;
    header.epoch = epoch;
    header.acknowledged_epoch = acknowledgement.epoch;
    header.acknowledged = acknowledgement.number;
    header.credit = acknowledgement.credit;
    return header;
  }
  // The same conversation on another node.
  bool move_to(Conversation& other) {
    Bytes state;
    wire::Writer writer(state);
    a.save(writer);
    wire::Reader reader(state);
    return other.load(reader) && reader.is_complete();
  }
  // What two conversations send from now on, as one text each.
  static std::string transcript(Conversation& conversation, TimePoint now) {
    TestCarrier to;
    conversation.set_path(PathKind::lossy);
    conversation.flush(to, now);
    std::string text;
    for (const auto& [peer, header, payload] : to.sent) {
      text += std::to_string(static_cast<int>(header.kind)) + ":" + std::to_string(header.epoch) +
              "." + std::to_string(header.sequence) + "(" + std::to_string(header.token) + "," +
              std::to_string(header.acknowledged_epoch) + "." +
              std::to_string(header.acknowledged) + "+" + std::to_string(header.credit) + ")" +
              std::string(dvs::as_text(payload)) + " ";
    }
    return text;
  }

  const Limits limits = small_limits();
  TestCarrier carrier;
  Conversation a{test_address(1), test_address(2), limits};
};

TEST_F(ConversationEpochTest, BreakingOffCountsMessagesAndNotifiesOnly) {
  for (int i = 0; i < 5; ++i) message();  // four numbered, one waits
  ASSERT_TRUE(a.submit(PacketKind::request, 1, {}).has_value());
  ASSERT_TRUE(a.submit(PacketKind::reply, 2, {}).has_value());
  ASSERT_TRUE(a.submit(PacketKind::cancel, 3, {}).has_value());
  a.notify(1);
  a.notify(2);
  EXPECT_EQ(a.break_off(), 7U);
  EXPECT_EQ(a.path(), PathKind::none);
  EXPECT_EQ(a.next_deadline(), dvs::never);
}

TEST_F(ConversationEpochTest, BreakingOffNothingLosesNothing) {
  EXPECT_EQ(a.break_off(), 0U);
}

TEST_F(ConversationEpochTest, AcknowledgedMessagesAreNotLost) {
  message();
  message();
  a.flush(carrier, test_start);
  a.on_acknowledgement({1, 1, 0}, test_start);
  EXPECT_EQ(a.break_off(), 1U);
}

TEST_F(ConversationEpochTest, TheNextEpochBeginsAnewWithFullCreditAndRoom) {
  for (int i = 0; i < 8; ++i) message();
  EXPECT_FALSE(a.has_room(0));
  a.flush(carrier, test_start);
  carrier.take();
  a.break_off();
  EXPECT_TRUE(a.is_flushed());
  a.set_path(PathKind::lossy);
  for (int i = 0; i < 6; ++i) message();
  a.notify(4);
  a.flush(carrier, test_start);
  ASSERT_EQ(carrier.sent.size(), 5U);  // four messages by credit, and the notify
  EXPECT_EQ(carrier.sent[0].header.epoch, 2U);
  EXPECT_EQ(carrier.sent[0].header.sequence, 1U);
  EXPECT_EQ(carrier.sent[4].header.kind, PacketKind::notify);
  EXPECT_EQ(carrier.sent[4].header.token, 4U);
}

TEST_F(ConversationEpochTest, RepliesGoOnInTheNextEpoch) {
  message("lost");
  ASSERT_TRUE(a.submit(PacketKind::reply, 7, test_bytes("one")).has_value());
  a.flush(carrier, test_start);
  ASSERT_TRUE(a.submit(PacketKind::reply, 8, test_bytes("two")).has_value());
  carrier.take();
  EXPECT_EQ(a.break_off(), 1U);
  EXPECT_FALSE(a.is_flushed());
  a.set_path(PathKind::lossy);
  a.flush(carrier, test_start);
  ASSERT_EQ(carrier.sent.size(), 2U);
  EXPECT_EQ(carrier.sent[0].header.sequence, 1U);
  EXPECT_EQ(carrier.sent[0].header.epoch, 2U);
  EXPECT_EQ(carrier.sent[0].header.token, 7U);
  EXPECT_EQ(carrier.sent[1].header.token, 8U);
  EXPECT_EQ(carrier.sent[1].payload, test_bytes("two"));
}

TEST_F(ConversationEpochTest, AcknowledgementsOfAnOldEpochAreIgnored) {
  for (int i = 0; i < 4; ++i) message();
  a.flush(carrier, test_start);
  a.break_off();
  a.set_path(PathKind::lossy);
  for (int i = 0; i < 6; ++i) message();
  a.flush(carrier, test_start);
  carrier.take();
  a.on_acknowledgement({1, 4, 1000 * packet_cost}, test_start);
  a.flush(carrier, test_start);
  EXPECT_TRUE(carrier.sent.empty());
  EXPECT_FALSE(a.is_flushed());
  a.on_acknowledgement({3, 4, 1000 * packet_cost}, test_start);  // of one that has not been
  a.flush(carrier, test_start);
  EXPECT_TRUE(carrier.sent.empty());
  a.on_acknowledgement({2, 4, 6 * packet_cost}, test_start);
  a.flush(carrier, test_start);
  EXPECT_EQ(carrier.sent.size(), 2U);
}

TEST_F(ConversationEpochTest, PacketsOfAnOldEpochAreIgnoredButTheirAcknowledgementRead) {
  EXPECT_TRUE(a.receive(from_peer(1, 2), test_start));
  EXPECT_EQ(a.peer_epoch(), 2U);
  message();
  a.flush(carrier, test_start);
  EXPECT_FALSE(a.receive(from_peer(2, 1, {1, 1, 0}), test_start));
  EXPECT_TRUE(a.is_flushed());
  EXPECT_EQ(a.peer_epoch(), 2U);
}

TEST_F(ConversationEpochTest, ANewEpochOfThePeerBeginsAtOneAndForgetsTheOld) {
  EXPECT_TRUE(a.receive(from_peer(1, 1), test_start));
  EXPECT_TRUE(a.receive(from_peer(2, 1), test_start));
  EXPECT_FALSE(a.receive(from_peer(2, 5), test_start));  // its first was lost
  EXPECT_EQ(a.peer_epoch(), 5U);
  EXPECT_TRUE(a.receive(from_peer(1, 5), test_start));
  EXPECT_FALSE(a.receive(from_peer(3, 1), test_start));
  a.flush(carrier, test_start);
  ASSERT_EQ(carrier.sent.size(), 1U);
  EXPECT_EQ(carrier.sent[0].header.acknowledged_epoch, 5U);
  EXPECT_EQ(carrier.sent[0].header.acknowledged, 1U);
  EXPECT_EQ(carrier.sent[0].header.credit, limits.window_cost);
}

TEST_F(ConversationEpochTest, AnAcknowledgementPacketBeginsNoEpoch) {
  PacketHeader header = from_peer(0, 9);
  header.kind = PacketKind::ack;
  EXPECT_FALSE(a.receive(header, test_start));
  EXPECT_EQ(a.peer_epoch(), 1U);
}

TEST_F(ConversationEpochTest, WhatWasReceivedBeforeStaysReceivedWhenOurHalfBreaksOff) {
  EXPECT_TRUE(a.receive(from_peer(1, 1), test_start));
  a.break_off();
  a.set_path(PathKind::lossy);
  EXPECT_FALSE(a.receive(from_peer(1, 1), test_start));
  EXPECT_TRUE(a.receive(from_peer(2, 1), test_start));
}

// --- Moving --------------------------------------------------------------------------------------

TEST_F(ConversationEpochTest, EveryStateContinuesElsewhereAsItWouldHaveHere) {
  const auto check = [&](const char* state) {
    SCOPED_TRACE(state);
    Conversation other{test_address(1), test_address(2), limits};
    ASSERT_TRUE(move_to(other));
    EXPECT_EQ(other.path(), PathKind::none);
    EXPECT_EQ(other.is_flushed(), a.is_flushed());
    EXPECT_EQ(other.peer_epoch(), a.peer_epoch());
    EXPECT_EQ(other.has_room(packet_cost), a.has_room(packet_cost));
    const TimePoint later = test_start + std::chrono::hours(1);
    EXPECT_EQ(transcript(other, later), transcript(a, later));
  };
  check("fresh");
  message("in flight");
  a.flush(carrier, test_start);
  check("in flight");
  a.notify(1);
  a.notify(6);
  check("notify numbered, and bits pending");
  for (int i = 0; i < 5; ++i) message("w");
  ASSERT_TRUE(a.submit(PacketKind::request, 77, test_bytes("q")).has_value());
  check("waiting");
  a.flush(carrier, test_start);
  a.on_acknowledgement({1, 1, 0}, test_start);
  check("first acknowledged");
  EXPECT_TRUE(a.receive(from_peer(1, 3), test_start));
  EXPECT_TRUE(a.receive(from_peer(2, 3), test_start));
  check("received, acknowledgement owed");
  a.release(3, packet_cost, test_start);
  check("partly released");
  a.break_off();
  message("next epoch");
  check("broken off");
}

TEST_F(ConversationEpochTest, TheMovedOneKeepsNotifyRulesAndCredit) {
  a.notify(1);
  a.flush(carrier, test_start);
  a.notify(2);
  for (int i = 0; i < 6; ++i) message();
  a.is_watched = a.is_notify_queued = true;
  Conversation moved{test_address(1), test_address(2), limits};
  ASSERT_TRUE(move_to(moved));
  EXPECT_TRUE(moved.is_watched);
  EXPECT_TRUE(moved.is_notify_queued);
  TestCarrier to;
  moved.set_path(PathKind::lossy);
  moved.flush(to, test_start);
  EXPECT_EQ(to.take().size(), 5U);
  moved.on_acknowledgement({1, 1, 5 * packet_cost}, test_start);  // given before the move
  moved.flush(to, test_start);
  ASSERT_EQ(to.sent.size(), 2U);
  EXPECT_EQ(to.sent[0].header.token, 2U);
  EXPECT_EQ(to.sent[1].header.kind, PacketKind::message);
}

// What arrived before the move is not taken again after it, and the peer is told.
TEST_F(ConversationEpochTest, TheMovedOneFiltersWhatItHad) {
  for (std::uint64_t number = 1; number <= 4; ++number) {
    EXPECT_TRUE(a.receive(from_peer(number, 1), test_start));
  }
  Conversation moved{test_address(1), test_address(2), limits};
  ASSERT_TRUE(move_to(moved));
  moved.set_path(PathKind::lossy);
  EXPECT_FALSE(moved.receive(from_peer(4, 1), test_start));
  EXPECT_FALSE(moved.receive(from_peer(5, 1), test_start));  // no credit yet
  moved.release(1, 2 * packet_cost, test_start);
  EXPECT_TRUE(moved.receive(from_peer(5, 1), test_start));
  TestCarrier to;
  moved.flush(to, test_start);
  ASSERT_EQ(to.sent.size(), 1U);
  EXPECT_EQ(to.sent[0].header.acknowledged, 5U);
  EXPECT_EQ(to.sent[0].header.credit, 6 * packet_cost);
}

}  // namespace
}  // namespace dvk::core
