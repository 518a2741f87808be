// Snapshots: equal after the round trip, and hostile ones refused.
#include <random>

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

void fill(TestState& test) {
  test.with_nodes(3);
  test(Put{"a", value_of("1"), {}});
  test(Put{"b/c", value_of("2"), {}});
  test(SetLabels{node_of(1), {{"rack", "7"}}});
  test(Claim{"files/9", node_of(2), 0});
  test(Claim{"files/8", node_of(1), 0});
  test(Release{"files/8", node_of(1), 1});
  test(Forget{"files/8", 1});
  test(ProposeView{1, {node_of(1), node_of(2)}});
  test(DeclareLost{node_of(3), BootId{103}});
}

TEST(Snapshot, BringsBackAnEqualState) {
  TestState test;
  fill(test);
  const Bytes bytes = test.state.snapshot();
  auto restored = State::restore(bytes);
  ASSERT_TRUE(restored.has_value()) << restored.error().detail;
  EXPECT_EQ(restored->snapshot(), bytes);
  EXPECT_EQ(restored->fingerprint(), test.state.fingerprint());
  EXPECT_EQ(restored->applied(), test.index);
  // And it goes on alike: a repetition is known, numbers and epochs continue.
  const std::vector<Bytes> entries{
      encode_proposal({test.client, test.sequence, Put{"z", {}, {}}}),
      encode_proposal({test.client, test.sequence + 1, Join{"n9", "h", {}, BootId{1}}}),
      encode_proposal({test.client, test.sequence + 2, Claim{"files/8", node_of(1), 0}})};
  for (const Bytes& entry : entries) {
    const Answer answer = test.state.apply(++test.index, entry);
    EXPECT_EQ(restored->apply(test.index, entry), answer);
  }
  EXPECT_EQ(restored->fingerprint(), test.state.fingerprint());
}

TEST(Snapshot, OfNothingIsAStateToo) {
  EXPECT_TRUE(State::restore(State().snapshot()).has_value());
  EXPECT_NE(State().fingerprint(), TestState().state.fingerprint());
}

TEST(Snapshot, AnotherVersionAndEveryCutAreRefused) {
  TestState test;
  fill(test);
  Bytes bytes = test.state.snapshot();
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(State::restore(BytesView(bytes).first(cut)).has_value());
  }
  bytes[0] = std::byte{99};
  EXPECT_EQ(State::restore(bytes).error().code, Errc::version_mismatch);
}

TEST(Snapshot, WhatHasBeenTamperedWithIsRefusedOrKeepsTheRules) {
  TestState test;
  fill(test);
  const Bytes good = test.state.snapshot();
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = good;
    for (unsigned i = 0; i <= random() % 3; ++i) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    auto restored = State::restore(bytes);
    if (!restored) continue;
    ASSERT_EQ(restored->snapshot(), bytes);
    const std::uint64_t next = restored->applied() + 1;
    restored->apply(next, encode_proposal({ClientId{}, 0, OpenSession{}}));
  }
}

TEST(Snapshot, LargerThanTheLimitsIsRefused) {
  TestState test;
  fill(test);
  Limits small;
  small.settings_bytes = 10;
  EXPECT_FALSE(State::restore(test.state.snapshot(), small).has_value());
  small = {};
  small.authorities = 0;
  EXPECT_FALSE(State::restore(test.state.snapshot(), small).has_value());
  small = {};
  small.sessions = 0;
  EXPECT_FALSE(State::restore(test.state.snapshot(), small).has_value());
}

}  // namespace
}  // namespace dvs::cluster
