#include "cluster/node/replica.hpp"

#include <gtest/gtest.h>

namespace dvs::cluster {
namespace {

class ReplicaTest : public testing::Test {
 protected:
  Answer apply(Command command) {
    const Bytes entry = encode_proposal({ClientId{}, 0, std::move(command)});
    const Bytes answer = replica.apply(++index, entry);
    return dvk::wire::decode_fields<Answer>(answer).value();
  }
  void join(unsigned number) {
    Join command{"n" + std::to_string(number), "h:1", {}, BootId{number}};
    command.wished = static_cast<NodeId>(number);
    ASSERT_TRUE(apply(std::move(command)).is_done());
  }
  static constexpr NodeId one{1}, two{2};

  std::vector<RosterNews> news;
  Replica replica{[this](RosterNews item) { news.push_back(std::move(item)); }};
  std::uint64_t index = 0;
};

TEST_F(ReplicaTest, TellsWhatConcernsNodesAndNothingElse) {
  join(1);
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].index, 1U);
  EXPECT_NE(news[0].roster.find(one), nullptr);
  EXPECT_TRUE(apply(OpenSession{}).is_done());
  EXPECT_FALSE(apply(ProposeView{7, {one}}).is_done());
  EXPECT_EQ(news.size(), 1U);
  EXPECT_TRUE(apply(ProposeView{0, {one}}).is_done());
  ASSERT_EQ(news.size(), 2U);
  EXPECT_EQ(news[1].roster.view().number, 1U);
}

TEST_F(ReplicaTest, TellsALossOnceAndANodeThatLeavesAsOne) {
  join(1);
  join(2);
  EXPECT_TRUE(apply(DeclareLost{two, BootId{2}}).is_done());
  EXPECT_EQ(news.back().lost, std::vector{two});
  apply(DeclareLost{two, BootId{2}});
  EXPECT_EQ(news.size(), 3U);
  EXPECT_TRUE(apply(Leave{one}).is_done());
  EXPECT_EQ(news.back().lost, std::vector{one});
}

// A member that was far behind: what was lost meanwhile is told all the same.
TEST_F(ReplicaTest, ASnapshotTellsWhoWasLostOnTheWayThere) {
  join(1);
  join(2);
  std::vector<RosterNews> late_news;
  Replica late([&](RosterNews item) { late_news.push_back(std::move(item)); });
  ASSERT_TRUE(late.restore(index, replica.snapshot()));
  ASSERT_EQ(late_news.size(), 1U);
  EXPECT_TRUE(late_news[0].lost.empty());
  apply(DeclareLost{two, BootId{2}});
  Announce announce{.node = two, .boot = BootId{22}, .replaces = BootId{2}, .address = "h:1"};
  const ClientId client{apply(OpenSession{}).number};
  replica.apply(++index, encode_proposal({client, 1, announce}));
  ASSERT_FALSE(
      replica.with_state([](const State& state) { return state.roster().find(two)->is_lost; }));
  ASSERT_TRUE(late.restore(index, replica.snapshot()));
  ASSERT_EQ(late_news.size(), 2U);
  EXPECT_EQ(late_news[1].index, index);
  EXPECT_EQ(late_news[1].lost, std::vector{two});
}

TEST_F(ReplicaTest, RubbishIsAnsweredAndNoSnapshotIsTakenOfIt) {
  const auto answer =
      dvk::wire::decode_fields<Answer>(replica.apply(++index, Bytes(3, std::byte{0xff})));
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->is_done());
  EXPECT_FALSE(replica.restore(9, Bytes(3)).has_value());
  EXPECT_TRUE(news.empty());
  EXPECT_EQ(replica.with_state([](const State& state) { return state.applied(); }), index);
}

}  // namespace
}  // namespace dvs::cluster
