// Authorities: epochs, views, release, handover and forgetting.
#include "cluster/state/authorities.hpp"

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

TEST(Authorities, AClaimRaisesTheEpoch) {
  TestState test;
  test.with_nodes(2);
  EXPECT_EQ(test(Claim{"files/9", node_of(1), 1}).code, Errc::conflict);
  EXPECT_EQ(test(Claim{"files/9", node_of(1), 0}).number, 1u);
  EXPECT_EQ(test(Claim{"files/9", node_of(2), 0}).code, Errc::conflict);
  const Answer held = test(Claim{"files/9", node_of(2), 1});
  EXPECT_EQ(held.code, Errc::conflict);
  EXPECT_EQ(held.number, 1u);
  EXPECT_EQ(test(Claim{"files/9", node_of(1), 1}).number, 2u);
  EXPECT_EQ(test(Claim{"files/9/", node_of(1), 0}).code, Errc::invalid_argument);
  EXPECT_EQ(test(Claim{"files/8", node_of(3), 0}).code, Errc::not_permitted);
}

TEST(Authorities, AViewWithoutTheHolderFreesButKeepsTheEpoch) {
  TestState test;
  test.with_nodes(3);
  test(Claim{"b", node_of(2), 0});
  test(Claim{"a", node_of(2), 0});
  test(Claim{"c", node_of(1), 0});
  const std::uint64_t before = test.index;
  test(ProposeView{1, {node_of(1), node_of(3)}});
  const auto events = test.events_after(before);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].change, Change(AuthorityChanged{{"a", no_node, 1}}));
  EXPECT_EQ(events[2].change, Change(AuthorityChanged{{"b", no_node, 1}}));
  EXPECT_EQ(test(Claim{"a", node_of(2), 1}).code, Errc::not_permitted);
  EXPECT_EQ(test(Release{"a", node_of(2), 1}).code, Errc::conflict);
  EXPECT_EQ(test(Claim{"a", node_of(3), 1}).number, 2u);
}

TEST(Authorities, OnlyTheHolderOfTheEpochReleasesAndHandsOver) {
  TestState test;
  test.with_nodes(2);
  test(Claim{"a", node_of(1), 0});
  EXPECT_EQ(test(Release{"a", node_of(2), 1}).code, Errc::conflict);
  EXPECT_EQ(test(Release{"a", node_of(1), 2}).code, Errc::conflict);
  EXPECT_EQ(test(Release{"x", node_of(1), 1}).code, Errc::not_found);
  EXPECT_EQ(test(HandOver{"a", node_of(2), node_of(1), 1}).code, Errc::conflict);
  EXPECT_EQ(test(HandOver{"a", node_of(1), node_of(3), 1}).code, Errc::not_permitted);
  EXPECT_EQ(test(HandOver{"a", node_of(1), node_of(2), 1}).number, 2u);
  EXPECT_TRUE(test(Release{"a", node_of(2), 2}).is_done());
  EXPECT_EQ(test(Release{"a", no_node, 2}).code, Errc::conflict);
  EXPECT_EQ(test(Claim{"a", node_of(1), 2}).number, 3u);
}

TEST(Authorities, ForgettingNeverBringsAnEpochBack) {
  TestState test;
  test.with_nodes(1);
  for (std::uint64_t epoch = 0; epoch < 5; ++epoch) test(Claim{"a", node_of(1), epoch});
  EXPECT_EQ(test(Forget{"a", 5}).code, Errc::conflict);
  test(Release{"a", node_of(1), 5});
  EXPECT_EQ(test(Forget{"a", 4}).code, Errc::conflict);
  EXPECT_TRUE(test(Forget{"a", 5}).is_done());
  EXPECT_EQ(test.state.authorities().find("a"), nullptr);
  EXPECT_EQ(test(Claim{"a", node_of(1), 5}).code, Errc::conflict);
  EXPECT_EQ(test(Claim{"a", node_of(1), 0}).number, 6u);
}

TEST(Authorities, AreBounded) {
  Limits limits;
  limits.authorities = 2;
  TestState test(limits);
  test.with_nodes(1);
  test(Claim{"a", node_of(1), 0});
  test(Claim{"b", node_of(1), 0});
  EXPECT_EQ(test(Claim{"c", node_of(1), 0}).code, Errc::limit_reached);
}

}  // namespace
}  // namespace dvs::cluster
