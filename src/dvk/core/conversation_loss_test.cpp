// A conversation whose packets are lost, and one whose peer is hostile or confused.
#include "dvk/core/test_conversation.hpp"

namespace dvk::core {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- Repetition ----------------------------------------------------------------------------------

TEST_F(ConversationTest, RepeatsByTimerDoublingToTheMaximum) {
  a.message("x");
  a.flush();
  TimePoint now = test_start;
  Duration wait = a.limits.replay_after;
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(a.conversation.next_deadline(), now + wait);
    EXPECT_FALSE(a.conversation.on_tick(now + wait - milliseconds(1)));
    now += wait;
    EXPECT_TRUE(a.conversation.on_tick(now));
    a.carrier.take();
    a.flush(now);
    ASSERT_EQ(a.carrier.sent.size(), 1U);
    EXPECT_EQ(a.carrier.sent[0].header.sequence, 1U);
    wait = std::min(wait * 2, a.limits.replay_after_max);
  }
  EXPECT_EQ(wait, a.limits.replay_after_max);
}

TEST_F(ConversationTest, ProgressBeginsTheWaitAnew) {
  a.message();
  a.message();
  a.flush();
  TimePoint now = test_start + a.limits.replay_after;
  a.conversation.on_tick(now);
  a.flush(now);
  EXPECT_EQ(a.conversation.next_deadline(), now + 2 * a.limits.replay_after);
  now += milliseconds(10);
  a.conversation.on_acknowledgement({1, 1, 0}, now);
  EXPECT_EQ(a.conversation.next_deadline(), now + a.limits.replay_after);
  a.conversation.on_acknowledgement({1, 1, 0}, now + milliseconds(10));  // says nothing new
  EXPECT_EQ(a.conversation.next_deadline(), now + a.limits.replay_after);
  a.conversation.on_acknowledgement({1, 2, 0}, now + milliseconds(20));
  EXPECT_EQ(a.conversation.next_deadline(), dvs::never);
}

// Everything sent was acknowledged, so nothing is repeated; but the packet that brought the credit
// may have been dropped on the way. Without a question the two would wait for each other for ever.
TEST_F(ConversationTest, LostCreditIsAskedFor) {
  for (int i = 0; i < 5; ++i) a.message();
  a.flush();
  EXPECT_EQ(carry(a, b).size(), 4U);
  b.flush();
  carry(b, a);  // acknowledged, not released
  a.flush();
  b.conversation.release(1, 4 * packet_cost, test_start);
  b.flush();
  EXPECT_EQ(b.kinds_sent(), Kinds{PacketKind::ack});  // lost
  TimePoint now = test_start;
  for (Duration wait = a.limits.replay_after; wait < seconds(3); wait *= 2) {
    ASSERT_EQ(a.conversation.next_deadline(), now + wait);
    now += wait;
    ASSERT_TRUE(a.conversation.on_tick(now));
    a.flush(now);
    ASSERT_EQ(a.carrier.sent.size(), 1U);
    if (wait < seconds(1)) a.carrier.take();  // the question can be lost, too
    if (wait >= seconds(1)) break;
  }
  EXPECT_EQ(carry(a, b, now), Texts{});  // a question, nothing to take
  b.flush(now);
  carry(b, a, now);
  a.flush(now);
  EXPECT_EQ(carry(a, b, now).size(), 1U);
  EXPECT_EQ(a.conversation.next_deadline(), now + a.limits.replay_after);
}

TEST_F(ConversationTest, ALosslessPathIsNotAskedForCredit) {
  a.conversation.set_path(PathKind::lossless);
  for (int i = 0; i < 5; ++i) a.message();
  a.flush();
  a.conversation.on_acknowledgement({1, 4, 0}, test_start);
  a.flush();
  EXPECT_EQ(a.conversation.next_deadline(), dvs::never);
}

// --- Hostile and confused peers ------------------------------------------------------------------

TEST_F(ConversationTest, AcknowledgingWhatWasNeverNumberedIsIgnored) {
  a.message();
  a.flush();
  a.conversation.on_acknowledgement({1, 2, 1'000'000}, test_start);
  EXPECT_FALSE(a.conversation.is_flushed());
  // Nor is the credit of such an acknowledgement believed.
  for (int i = 0; i < 5; ++i) a.message();
  a.flush();
  EXPECT_EQ(a.carrier.sent.size(), 4U);
}

TEST_F(ConversationTest, AcknowledgingWhatHasNotLeftIsIgnored) {
  a.message();
  a.message();
  a.carrier.room = 1;
  EXPECT_FALSE(a.flush());
  a.conversation.on_acknowledgement({1, 2, 0}, test_start);
  EXPECT_FALSE(a.conversation.is_flushed());
  a.carrier.room = 1;
  EXPECT_TRUE(a.flush());
  EXPECT_EQ(carry(a, b).size(), 2U);
  // Before a replay has repeated it, what had left may be acknowledged.
  a.conversation.set_path(PathKind::lossy);
  a.conversation.on_acknowledgement({1, 2, 0}, test_start);
  EXPECT_TRUE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, CreditIsNeverTakenBack) {
  a.conversation.on_acknowledgement({1, 0, 6 * packet_cost}, test_start);
  a.conversation.on_acknowledgement({1, 0, 2 * packet_cost}, test_start);
  for (int i = 0; i < 7; ++i) a.message();
  a.flush();
  EXPECT_EQ(a.carrier.sent.size(), 6U);
}

TEST_F(ConversationTest, APeerOverItsCreditIsNotHeard) {
  for (std::uint64_t number = 1; number <= 4; ++number) {
    EXPECT_TRUE(b.conversation.receive(packet_from(1, number), test_start));
  }
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 5), test_start));
  // What needs no credit passes.
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 5, 1, PacketKind::reply), test_start));
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 6), test_start));
  b.conversation.release(1, packet_cost, test_start);
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 6), test_start));
}

// The window is full and nobody takes anything, and the acknowledgement was lost. The sender must
// still learn that all of it arrived, or it would repeat it until somebody does.
TEST_F(ConversationTest, DuplicatesAreAcknowledgedThoughTheWindowIsFull) {
  for (int i = 0; i < 4; ++i) a.message();
  a.flush();
  EXPECT_EQ(carry(a, b).size(), 4U);
  b.flush();
  b.carrier.take();  // lost
  const TimePoint now = test_start + a.limits.replay_after;
  EXPECT_TRUE(a.conversation.on_tick(now));
  a.flush(now);
  EXPECT_EQ(carry(a, b, now), Texts{});
  b.flush(now);
  carry(b, a, now);
  EXPECT_TRUE(a.conversation.is_flushed());
}

TEST_F(ConversationTest, HoardingByEpochsHasAnEnd) {
  std::uint64_t taken = 0;
  for (std::uint32_t epoch = 1; epoch <= 100; ++epoch) {
    for (std::uint64_t number = 1; number <= 4; ++number) {
      taken += b.conversation.receive(packet_from(1, number, epoch), test_start) ? 1 : 0;
    }
  }
  EXPECT_EQ(taken, 16U);
  // Taking what was sent in old epochs lets it be heard again, but gives no credit in the new one.
  b.conversation.release(1, packet_cost, test_start);
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 1, 100), test_start));
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 2, 100), test_start));
  b.conversation.release(100, packet_cost, test_start);
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 2, 100), test_start));
}

TEST_F(ConversationTest, ReleasingMoreThanIsHeldHarmsNothing) {
  EXPECT_TRUE(b.conversation.receive(packet_from(1, 1), test_start));
  b.conversation.release(7, 100 * packet_cost, test_start);
  for (std::uint64_t number = 2; number <= 4; ++number) {
    EXPECT_TRUE(b.conversation.receive(packet_from(1, number), test_start));
  }
  EXPECT_FALSE(b.conversation.receive(packet_from(1, 5), test_start));
}

}  // namespace
}  // namespace dvk::core
