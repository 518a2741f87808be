// Watches: prefixes, pages, and what is not kept any more.
#include "cluster/state/event_history.hpp"

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

TEST(EventHistory, AWatchSeesWhatItsPrefixNames) {
  TestState test;
  test.with_nodes(1);
  test(Put{"a/1", value_of("x"), {}});
  test(Put{"b", {}, {}});
  test(Delete{"a/1", {}});
  test(Claim{"a/1", node_of(1), 0});
  EXPECT_EQ(test.events_after(0, "settings/a/").size(), 2u);
  EXPECT_EQ(test.events_after(0, "settings/").size(), 3u);
  EXPECT_EQ(test.events_after(0, "nodes/1").size(), 1u);
  EXPECT_EQ(test.events_after(0, "view").size(), 1u);
  EXPECT_EQ(test.events_after(0, "authorities/").size(), 1u);
  EXPECT_EQ(test.events_after(test.index).size(), 0u);
}

TEST(EventHistory, PagesNeverSeparateTheEventsOfOneEntry) {
  TestState test;
  const std::uint64_t first = test(Transaction{{}, {{"a", true, {}}, {"b", true, {}}}}).number;
  test(Put{"c", {}, {}});
  const auto page = test.state.events_after(0, "settings/", 1);
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->events.size(), 2u);
  EXPECT_EQ(page->through, first);
  const auto rest = test.state.events_after(page->through, "settings/", 10);
  EXPECT_EQ(rest->events.size(), 1u);
  EXPECT_EQ(rest->through, test.index);
}

TEST(EventHistory, WhoAsksForOlderIsToldCompacted) {
  Limits limits;
  limits.history_events = 4;
  TestState test(limits);
  std::uint64_t third = 0;
  for (int i = 0; i < 7; ++i) {
    const Answer answer = test(Put{"a", {}, {}});
    if (i == 2) third = answer.number;
  }
  const auto refused = test.state.events_after(third - 1, "", 10);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::compacted);
  EXPECT_EQ(test.state.events_after(third, "", 10)->events.size(), 4u);
}

TEST(EventHistory, BytesAreBoundedToo) {
  Limits limits;
  limits.history_bytes = 100'000;
  TestState test(limits);
  for (int i = 0; i < 5; ++i) test(Put{"a", Bytes(40'000), {}});
  EXPECT_EQ(test.state.events_after(0, "", 10).error().code, Errc::compacted);
  EXPECT_EQ(test.events_after(test.index - 2).size(), 2u);
}

TEST(EventHistory, ARestoredReplicaBeginsAtItsSnapshot) {
  TestState test;
  test(Put{"a", {}, {}});
  auto restored = State::restore(test.state.snapshot());
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->events_after(test.index - 1, "", 10).error().code, Errc::compacted);
  EXPECT_TRUE(restored->events_after(test.index, "", 10)->events.empty());
}

}  // namespace
}  // namespace dvs::cluster
