// The leader's side step by step: when a heartbeat is granted, when a node is left out, and what
// counts as a new boot.
#include "cluster/membership/leader.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace dvs::cluster {
namespace {

using namespace std::chrono_literals;

constexpr BootId boot{7};

class LeaderTest : public testing::Test {
 protected:
  LeaderTest() {
    std::vector<Change> changes;
    for (const char* name : {"a", "b", "c"}) {
      std::ignore = roster.join({name, "h", {}, boot, NodeRole::voter, 1}, changes);
    }
    apply(ProposeView{0, {NodeId{1}, NodeId{2}, NodeId{3}}});
  }

  void apply(const ProposeView& command) {
    std::vector<Change> changes;
    ASSERT_TRUE(roster.propose_view(command, changes).has_value());
    leader.on_roster(roster, now);
  }
  std::int64_t nanoseconds() const { return now.time_since_epoch().count(); }
  void beat(unsigned from, BootId of = boot) { beat(from, of, nanoseconds()); }
  void beat(unsigned from, BootId of, std::int64_t answers) {
    leader.on_heartbeat(static_cast<NodeId>(from), no_node, {1, of, nanoseconds(), 0, answers}, now,
                        actions);
  }
  void support(unsigned from, std::uint64_t number) {
    leader.on_support(static_cast<NodeId>(from), {1, number}, now, actions);
  }
  // The next tick; `supporters` answer the round it may begin.
  void tick(Duration later, std::vector<unsigned> supporters = {}) {
    now += later;
    actions = {};
    leader.tick(now, actions);
    for (const Actions::Envelope& envelope : std::vector(actions.messages)) {
      const auto message = decode_membership(envelope.message);
      const auto* probe = std::get_if<Probe>(&*message);
      if (probe == nullptr) continue;
      round = probe->round;
      if (std::ranges::count(supporters, raw(envelope.to)) != 0) {
        support(raw(envelope.to), probe->round);
      }
    }
  }
  // Ticks until something is proposed; the nodes given are heard and support.
  Duration tick_until_proposal(const std::vector<unsigned>& heard, Duration limit) {
    const TimePoint start = now;
    while (now - start < limit) {
      for (const unsigned node : heard) beat(node);
      tick(20ms, heard);
      if (!actions.proposals.empty()) break;
    }
    return now - start;
  }
  template <class Message>
  bool has_sent(unsigned to) const {
    return std::ranges::any_of(actions.messages, [&](const Actions::Envelope& envelope) {
      const auto message = decode_membership(envelope.message);
      return raw(envelope.to) == to && std::holds_alternative<Message>(*message);
    });
  }
  template <class Wanted>
  const Wanted* proposed() const {
    return actions.proposals.empty() ? nullptr : std::get_if<Wanted>(&actions.proposals.front());
  }

  Roster roster;
  TimePoint now{1h};
  Actions actions;
  std::uint64_t round = 0;
  Leader leader{NodeId{1}, boot, 1, {NodeId{1}, NodeId{2}, NodeId{3}}, {}, now};
};

TEST_F(LeaderTest, AHeartbeatIsGrantedByARoundSentAfterIt) {
  tick(0ms);
  beat(2);
  support(2, round);
  support(3, round);
  EXPECT_FALSE(has_sent<Grant>(2));
  tick(60ms);
  support(3, round - 1);
  EXPECT_FALSE(has_sent<Grant>(2));
  support(3, round);
  EXPECT_TRUE(has_sent<Grant>(2));
  EXPECT_EQ(leader.supported_since(), now);
  actions = {};
  support(2, round);
  EXPECT_FALSE(has_sent<Grant>(2));
}

TEST_F(LeaderTest, ASilentNodeIsLeftOutAtTheEndOfItsLeaseAndGrantedNothingMeanwhile) {
  tick(0ms, {2, 3});
  beat(2);
  const Duration waited = tick_until_proposal({3}, 2s);
  EXPECT_GE(waited, 800ms);
  EXPECT_LE(waited, 830ms);
  ASSERT_NE(proposed<ProposeView>(), nullptr);
  EXPECT_EQ(proposed<ProposeView>()->members, (std::vector{NodeId{1}, NodeId{3}}));
  // It is heard again before the fate of the proposal is known.
  beat(2);
  tick(60ms, {2, 3});
  EXPECT_FALSE(has_sent<Grant>(2));
  leader.on_proposal_failed();
  beat(2);
  tick(60ms, {2, 3});
  EXPECT_TRUE(has_sent<Grant>(2));
  EXPECT_TRUE(actions.proposals.empty());
}

TEST_F(LeaderTest, ANewLeaderCountsSilenceFromItsFirstSupportedRound) {
  tick(0ms);
  now += 5s;
  tick(20ms, {3});
  const Duration waited = tick_until_proposal({3}, 2s);
  EXPECT_GE(waited, 780ms);
}

TEST_F(LeaderTest, WithoutAMajorityNothingIsProposedAndNothingGranted) {
  for (int i = 0; i < 200; ++i) {
    beat(2);
    tick(20ms);
    ASSERT_TRUE(actions.proposals.empty());
    ASSERT_FALSE(has_sent<Grant>(2));
  }
  EXPECT_FALSE(leader.supported_since().has_value());
}

TEST_F(LeaderTest, AfterAPauseOfItsOwnWhatWaitsIsReadFirst) {
  tick(0ms, {2, 3});
  beat(2);
  beat(3);
  tick(60ms, {2, 3});
  tick(750ms, {2, 3});
  EXPECT_TRUE(actions.proposals.empty());
  beat(2);
  const Duration waited = tick_until_proposal({3}, 2s);
  EXPECT_GE(waited, 780ms);
}

TEST_F(LeaderTest, ASuspectedNodeIsPingedThroughTheVoters) {
  tick(0ms, {2, 3});
  beat(2);
  for (int i = 0; i < 24; ++i) {
    beat(3);
    tick(20ms, {3});
    EXPECT_FALSE(has_sent<Forward>(3));
  }
  beat(3);
  tick(40ms, {3});
  EXPECT_TRUE(has_sent<Ping>(2));
  EXPECT_TRUE(has_sent<Forward>(3));
}

TEST_F(LeaderTest, ANewBootCountsOnlyInAnswerToALaterPing) {
  tick(0ms, {2, 3});
  beat(2);
  beat(3);
  const std::int64_t before = nanoseconds();
  tick(20ms, {2, 3});
  beat(2, BootId{6}, before - 1);
  EXPECT_TRUE(has_sent<Ping>(2));
  tick(20ms, {2, 3});
  EXPECT_TRUE(actions.proposals.empty());
  // Shown in answer: out at once, then lost, then known under the new one.
  beat(2, BootId{8}, nanoseconds());
  const std::int64_t shown = nanoseconds();
  tick(20ms, {2, 3});
  ASSERT_NE(proposed<ProposeView>(), nullptr);
  apply(*proposed<ProposeView>());
  tick(20ms, {2, 3});
  ASSERT_NE(proposed<DeclareLost>(), nullptr);
  EXPECT_EQ(proposed<DeclareLost>()->boot, boot);
  std::vector<Change> changes;
  ASSERT_TRUE(roster.declare_lost(*proposed<DeclareLost>(), changes).has_value());
  leader.on_roster(roster, now);
  beat(3);
  tick(200ms, {2, 3});
  // The gap was long for a leader: it waits before it judges.
  tick_until_proposal({3}, 1s);
  ASSERT_NE(proposed<Announce>(), nullptr);
  EXPECT_EQ(proposed<Announce>()->boot, BootId{8});
  EXPECT_EQ(proposed<Announce>()->replaces, boot);
  ASSERT_TRUE(roster.announce(*proposed<Announce>(), changes).has_value());
  leader.on_roster(roster, now);
  // What the old boot said comes late: it is no newer boot.
  beat(2, boot, shown);
  EXPECT_GE(tick_until_proposal({3}, 300ms), 300ms);
}

TEST_F(LeaderTest, ComesBackWhenStable) {
  tick(0ms, {2, 3});
  apply({1, {NodeId{1}, NodeId{3}}});
  const Duration waited = tick_until_proposal({2, 3}, 1s);
  EXPECT_GE(waited, 300ms);
  EXPECT_LE(waited, 340ms);
  ASSERT_NE(proposed<ProposeView>(), nullptr);
  EXPECT_EQ(proposed<ProposeView>()->members.size(), 3u);
}

}  // namespace
}  // namespace dvs::cluster
