// The inequality of the leases, the codec, and single machines step by step.
#include "cluster/membership/membership.hpp"

#include <gtest/gtest.h>

namespace dvs::cluster {
namespace {

using namespace std::chrono_literals;

// True time, in seconds, that passes while a clock of that rate counts `duration`.
double true_seconds(Duration duration, double rate_ppm) {
  return std::chrono::duration<double>(duration).count() / (1 + rate_ppm / 1e6);
}

TEST(MembershipSettings, TheHolderStopsBeforeTheLeaderMayPropose) {
  for (const std::uint32_t drift : {0U, 1U, 100U, 500U, 10'000U, 200'000U}) {
    for (const Duration lease : {Duration(800ms), Duration(1s), Duration(60s), Duration(100ms)}) {
      MembershipSettings settings;
      settings.drift_ppm = drift;
      settings.view_lease = lease;
      const double slowest_holder = true_seconds(holder_lease(settings), -double(drift));
      const double fastest_leader = true_seconds(lease, double(drift));
      EXPECT_LE(slowest_holder, fastest_leader) << drift;
      // And nothing is given away.
      EXPECT_GT(slowest_holder, 0.99 * fastest_leader) << drift;
    }
  }
}

TEST(MembershipSettings, ByDefaultAPauseFitsIntoTheLease) {
  const MembershipSettings settings;
  // A heartbeat, a round to confirm it, a pause of 300 ms, and what the network takes.
  EXPECT_GT(holder_lease(settings) - settings.freeze_margin,
            settings.heartbeat + settings.heartbeat + 300ms + 100ms);
}

TEST(MembershipMessage, EveryMessageComesBackAsItWas) {
  const Bytes inner = encode_membership(Ping{1, 2});
  const std::vector<MembershipMessage> messages{
      Ping{1, 2},    Heartbeat{1, BootId{2}, 3, 4, 5},    Grant{1, 2, 3}, Probe{1, 2},
      Support{1, 2}, Forward{NodeId{1}, NodeId{2}, inner}};
  ASSERT_EQ(messages.size(), std::variant_size_v<MembershipMessage>);
  for (const MembershipMessage& message : messages) {
    const Bytes bytes = encode_membership(message);
    const auto decoded = decode_membership(bytes);
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(encode_membership(*decoded), bytes);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      EXPECT_FALSE(decode_membership(BytesView(bytes).first(cut)).has_value());
    }
  }
  for (const MembershipMessage& message : std::vector<MembershipMessage>{
           Ping{count_max, 2}, Heartbeat{1, BootId{}, 3, 4, 5}, Heartbeat{1, BootId{2}, -3, 4, 5},
           Forward{NodeId{1}, no_node, inner}}) {
    EXPECT_FALSE(decode_membership(encode_membership(message)).has_value());
  }
  Bytes newer = inner;
  newer[0] = std::byte{9};
  EXPECT_EQ(decode_membership(newer).error().code, Errc::version_mismatch);
  EXPECT_FALSE(decode_membership(Bytes(membership_message_bytes_max + 1)).has_value());
}

class OneNode : public testing::Test {
 protected:
  OneNode() {
    std::vector<Change> changes;
    for (const char* name : {"a", "b", "c"}) {
      std::ignore = roster.join({name, "h", {}, BootId{7}, NodeRole::voter, 1}, changes);
    }
    set_view({NodeId{1}, NodeId{2}});
    tell();
  }
  void set_view(std::vector<NodeId> members) {
    std::vector<Change> changes;
    ASSERT_TRUE(roster.propose_view({roster.view().number, std::move(members)}, changes));
  }
  void tell() { node.on_roster(roster, now, actions); }
  void receive(const MembershipMessage& message) {
    actions = {};
    ASSERT_TRUE(node.on_message(NodeId{1}, encode_membership(message), now, actions).has_value());
  }
  std::int64_t nanoseconds() const { return now.time_since_epoch().count(); }

  Roster roster;
  TimePoint now{1h};
  Actions actions;
  Membership node{NodeId{2}, BootId{7}};
};

TEST_F(OneNode, BeginsFrozenAndThawsWhenGranted) {
  EXPECT_FALSE(node.may_act(now));
  receive(Grant{1, 1, nanoseconds()});
  EXPECT_EQ(actions.standing, Actions::Standing::may_thaw);
  EXPECT_TRUE(node.may_act(now));
  const TimePoint end = node.lease_end();
  EXPECT_EQ(end, now + holder_lease({}));
  now = end - 51ms;
  actions = {};
  node.tick(now, actions);
  EXPECT_FALSE(actions.standing.has_value());
  now = end - 50ms;
  EXPECT_FALSE(node.may_act(now));
  node.tick(now, actions);
  EXPECT_EQ(actions.standing, Actions::Standing::must_freeze);
}

TEST_F(OneNode, AGrantCountsOnceItsViewIsApplied) {
  receive(Grant{1, 2, nanoseconds()});
  EXPECT_FALSE(node.may_act(now));
  set_view({NodeId{1}, NodeId{2}, NodeId{3}});
  tell();
  EXPECT_TRUE(node.may_act(now));
  // Left out: at once.
  set_view({NodeId{1}});
  tell();
  EXPECT_FALSE(node.may_act(now));
  EXPECT_EQ(actions.standing, Actions::Standing::must_freeze);
}

TEST_F(OneNode, GrantsOfTheFutureAndOfOtherLeadersAreIgnored) {
  receive(Grant{1, 1, nanoseconds() + 1});
  EXPECT_FALSE(node.may_act(now));
  receive(Ping{5, 1});
  receive(Grant{4, 1, nanoseconds()});
  EXPECT_FALSE(node.may_act(now));
  EXPECT_EQ(node.leader(), NodeId{1});
}

TEST_F(OneNode, SupportsOnlyTheTermOfItsEngine) {
  node.on_term(3);
  receive(Probe{3, 9});
  ASSERT_EQ(actions.messages.size(), 1u);
  EXPECT_EQ(actions.messages[0].message, encode_membership(Support{3, 9}));
  receive(Probe{2, 9});
  EXPECT_TRUE(actions.messages.empty());
  receive(Probe{4, 9});
  EXPECT_TRUE(actions.messages.empty());
}

TEST_F(OneNode, PassesOnOnlyOneStep) {
  const Bytes ping = encode_membership(Ping{1, 2});
  receive(Forward{NodeId{1}, NodeId{3}, ping});
  ASSERT_EQ(actions.messages.size(), 1u);
  EXPECT_EQ(actions.messages[0].to, NodeId{3});
  receive(Forward{NodeId{3}, NodeId{1}, ping});
  EXPECT_TRUE(actions.messages.empty());
  Actions none;
  const Forward nested{NodeId{1}, NodeId{2},
                       encode_membership(Forward{NodeId{1}, NodeId{2}, ping})};
  EXPECT_FALSE(node.on_message(NodeId{1}, encode_membership(nested), now, none).has_value());
}

TEST_F(OneNode, ABootThatIsLostIsToldOnce) {
  set_view({NodeId{1}});
  std::vector<Change> changes;
  ASSERT_TRUE(roster.declare_lost({NodeId{2}, BootId{7}}, changes));
  tell();
  EXPECT_TRUE(actions.must_take_new_boot);
  actions = {};
  tell();
  EXPECT_FALSE(actions.must_take_new_boot);
  node.set_boot(BootId{8}, now);
  ASSERT_TRUE(roster.announce({NodeId{2}, BootId{8}, BootId{7}, "h", 1}, changes));
  set_view({NodeId{1}, NodeId{2}});
  tell();
  // A grant of what the old boot sent is none for the new one.
  receive(Grant{1, 3, nanoseconds() - 1});
  EXPECT_FALSE(node.may_act(now));
  receive(Grant{1, 3, nanoseconds()});
  EXPECT_TRUE(node.may_act(now));
}

}  // namespace
}  // namespace dvs::cluster
