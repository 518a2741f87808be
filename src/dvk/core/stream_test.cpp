// The two halves of a numbered stream, and what they do with nonsense.
#include "dvk/core/stream.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dvk::core {
namespace {

using Window = SendWindow<std::string>;

// Acknowledges and tells what was released.
std::vector<std::string> acknowledge(Window& window, std::uint64_t number) {
  std::vector<std::string> released;
  EXPECT_TRUE(
      window.acknowledge(number, [&](const std::string& item) { released.push_back(item); }));
  return released;
}

std::vector<std::string> hand_over_all(Window& window) {
  std::vector<std::string> items;
  for (; window.next() != nullptr; window.advance()) items.push_back(*window.next());
  return items;
}

TEST(SendWindow, BeginsEmptyBeforeNumberOne) {
  Window window;
  EXPECT_TRUE(window.empty());
  EXPECT_EQ(window.next(), nullptr);
  EXPECT_EQ(window.first_number(), 1U);
  EXPECT_EQ(window.last_number(), 0U);
  EXPECT_FALSE(window.in_flight());
}

TEST(SendWindow, NumbersFromOneWithoutGaps) {
  Window window;
  EXPECT_EQ(window.push("a"), 1U);
  EXPECT_EQ(window.push("b"), 2U);
  EXPECT_EQ(window.next_number(), 1U);
  EXPECT_EQ(*window.next(), "a");
  window.advance();
  EXPECT_EQ(window.next_number(), 2U);
  EXPECT_EQ(*window.next(), "b");
  window.advance();
  EXPECT_EQ(window.next(), nullptr);
  EXPECT_EQ(window.push("c"), 3U);
  EXPECT_EQ(*window.next(), "c");
}

TEST(SendWindow, AcknowledgementReleasesUpToItsNumberInOrder) {
  Window window;
  for (const char* item : {"a", "b", "c"}) window.push(item);
  hand_over_all(window);
  EXPECT_TRUE(window.in_flight());
  EXPECT_EQ(acknowledge(window, 2), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(window.first_number(), 3U);
  EXPECT_EQ(window.size(), 1U);
  EXPECT_TRUE(window.in_flight());
  EXPECT_EQ(acknowledge(window, 3), std::vector<std::string>{"c"});
  EXPECT_FALSE(window.in_flight());
}

TEST(SendWindow, RepeatedAndOldAcknowledgementsReleaseNothing) {
  Window window;
  for (const char* item : {"a", "b"}) window.push(item);
  hand_over_all(window);
  acknowledge(window, 1);
  EXPECT_TRUE(acknowledge(window, 1).empty());
  EXPECT_TRUE(acknowledge(window, 0).empty());
  EXPECT_EQ(window.size(), 1U);
}

TEST(SendWindow, RefusesANumberThatWasNeverGiven) {
  Window window;
  window.push("a");
  hand_over_all(window);
  const auto never = [](const std::string&) { FAIL(); };
  EXPECT_FALSE(window.acknowledge(2, never));
  EXPECT_FALSE(window.acknowledge(~std::uint64_t{0}, never));
  EXPECT_EQ(window.size(), 1U);
  Window fresh;
  EXPECT_FALSE(fresh.acknowledge(1, never));
}

TEST(SendWindow, RewindHandsOverAgainExactlyWhatIsRetained) {
  Window window;
  for (const char* item : {"a", "b", "c"}) window.push(item);
  hand_over_all(window);
  acknowledge(window, 1);
  window.rewind();
  EXPECT_FALSE(window.in_flight());
  EXPECT_EQ(window.next_number(), 2U);
  EXPECT_EQ(hand_over_all(window), (std::vector<std::string>{"b", "c"}));
}

// The peer had everything, only its acknowledgement was late: nothing is left to repeat.
TEST(SendWindow, AcknowledgementInTheMiddleOfAReplaySkipsIt) {
  Window window;
  for (const char* item : {"a", "b", "c"}) window.push(item);
  hand_over_all(window);
  window.rewind();
  window.advance();
  acknowledge(window, 2);
  EXPECT_EQ(window.next_number(), 3U);
  EXPECT_EQ(hand_over_all(window), std::vector<std::string>{"c"});
}

TEST(SendWindow, GoesOnElsewhereFromAnyNumber) {
  Window window;
  window.push("old");
  window.restart_at(41);
  EXPECT_TRUE(window.empty());
  EXPECT_EQ(window.next(), nullptr);
  EXPECT_EQ(window.push("a"), 41U);
  EXPECT_EQ(window.next_number(), 41U);
  EXPECT_TRUE(acknowledge(window, 40).empty());
  EXPECT_EQ(acknowledge(window, 41), std::vector<std::string>{"a"});
}

TEST(ReceiveWindow, TakesOnlyTheNextNumber) {
  using Verdict = ReceiveWindow::Verdict;
  ReceiveWindow window;
  EXPECT_EQ(window.received(), 0U);
  EXPECT_EQ(window.offer(2), Verdict::gap);
  EXPECT_EQ(window.offer(1), Verdict::accept);
  EXPECT_EQ(window.offer(1), Verdict::duplicate);
  EXPECT_EQ(window.offer(0), Verdict::duplicate);
  EXPECT_EQ(window.offer(3), Verdict::gap);
  EXPECT_EQ(window.received(), 1U);
  EXPECT_EQ(window.offer(2), Verdict::accept);
  EXPECT_EQ(window.offer(~std::uint64_t{0}), Verdict::gap);
  EXPECT_EQ(window.received(), 2U);
}

TEST(ReceiveWindow, GoesOnAfterAnyNumber) {
  using Verdict = ReceiveWindow::Verdict;
  ReceiveWindow window;
  window.restart_after(10);
  EXPECT_EQ(window.received(), 10U);
  EXPECT_EQ(window.offer(10), Verdict::duplicate);
  EXPECT_EQ(window.offer(11), Verdict::accept);
  window.restart_after(0);
  EXPECT_EQ(window.offer(1), Verdict::accept);
}

}  // namespace
}  // namespace dvk::core
