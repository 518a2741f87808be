// Nodes, views, and the two steps of losing a node.
#include "cluster/state/roster.hpp"

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

Join join_of(const char* name) {
  return {name, "host:7", {}, BootId{1}, NodeRole::client};
}

TEST(Roster, NumbersAreNeverReusedAndNamesAreUnique) {
  TestState test;
  EXPECT_EQ(test(join_of("a")).number, 1u);
  EXPECT_EQ(test(join_of("a")).code, Errc::name_in_use);
  EXPECT_EQ(test(join_of("b")).number, 2u);
  EXPECT_TRUE(test(Leave{node_of(2)}).is_done());
  EXPECT_EQ(test(Leave{node_of(2)}).code, Errc::not_found);
  EXPECT_EQ(test(join_of("b")).number, 3u);
}

TEST(Roster, ANumberCanBeWishedForOnce) {
  TestState test;
  const auto join = [&](const char* name, unsigned wished) {
    Join command{name, "h:1", {}, BootId{1}};
    command.wished = node_of(wished);
    return test(command);
  };
  EXPECT_EQ(join("a", 3).number, 3U);
  EXPECT_EQ(join("b", 3).code, Errc::conflict);
  EXPECT_EQ(join("b", 1).number, 1U);
  EXPECT_EQ(join("c", 0).number, 4U);
  EXPECT_TRUE(test(Leave{node_of(1)}).is_done());
  EXPECT_EQ(join("d", 1).code, Errc::conflict);
  const auto restored = State::restore(test.state.snapshot());
  ASSERT_TRUE(restored.has_value());
  EXPECT_EQ(restored->roster().skipped(), std::vector{node_of(2)});
  EXPECT_EQ(restored->fingerprint(), test.state.fingerprint());
  EXPECT_EQ(join("d", 2).number, 2U);
}

TEST(Roster, FieldsOfANodeAreChecked) {
  TestState test;
  for (const char* name : {"", "-a", "a-", "A", "a.b", "a b"}) {
    EXPECT_EQ(test(join_of(name)).code, Errc::invalid_argument) << name;
  }
  Join no_boot = join_of("a");
  no_boot.boot = BootId{};
  EXPECT_EQ(test(no_boot).code, Errc::invalid_argument);
  Join no_address = join_of("a");
  no_address.address = "";
  EXPECT_EQ(test(no_address).code, Errc::invalid_argument);
  Join no_role = join_of("a");
  no_role.role = NodeRole{9};
  EXPECT_EQ(test(no_role).code, Errc::invalid_argument);
}

TEST(Roster, WishesAreKept) {
  TestState test;
  test.with_nodes(1);
  EXPECT_TRUE(test(SetRole{node_of(1), NodeRole::client}).is_done());
  EXPECT_TRUE(test(SetDrained{node_of(1), true}).is_done());
  EXPECT_TRUE(test(SetLabels{node_of(1), {{"rack", "7"}, {"zone", ""}}}).is_done());
  EXPECT_EQ(test(SetLabels{node_of(1), {{"b", ""}, {"a", ""}}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(SetLabels{node_of(1), {{"a", ""}, {"a", ""}}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(SetDrained{node_of(2), true}).code, Errc::not_found);
  const Node& node = *test.state.roster().find(node_of(1));
  EXPECT_EQ(node.role, NodeRole::client);
  EXPECT_TRUE(node.is_drained);
  EXPECT_EQ(node.labels.size(), 2u);
}

TEST(Roster, AViewFollowsThePresentOne) {
  TestState test;
  test.with_nodes(3);
  EXPECT_EQ(test.state.view().number, 1u);
  const Answer stale = test(ProposeView{0, {node_of(1)}});
  EXPECT_EQ(stale.code, Errc::conflict);
  EXPECT_EQ(stale.number, 1u);
  EXPECT_EQ(test(ProposeView{2, {node_of(1)}}).code, Errc::conflict);
  EXPECT_EQ(test(ProposeView{1, {node_of(2), node_of(1)}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(ProposeView{1, {node_of(1), node_of(1)}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(ProposeView{1, {node_of(4)}}).code, Errc::not_found);
  EXPECT_EQ(test(ProposeView{1, {node_of(1), node_of(3)}}).number, 2u);
  EXPECT_EQ(test.state.view().members, (std::vector{node_of(1), node_of(3)}));
  ASSERT_EQ(test.events_after(0, "view").size(), 2u);
}

TEST(Roster, ANodeThatLeftIsInNoLaterView) {
  TestState test;
  test.with_nodes(2);
  EXPECT_EQ(test(Leave{node_of(2)}).code, Errc::conflict);
  EXPECT_TRUE(test(ProposeView{1, {node_of(1)}}).is_done());
  EXPECT_TRUE(test(Leave{node_of(2)}).is_done());
  EXPECT_EQ(test(ProposeView{2, {node_of(1), node_of(2)}}).code, Errc::not_found);
}

TEST(Roster, LosingANodeHasTwoSteps) {
  TestState test;
  test.with_nodes(2);
  const DeclareLost lost{node_of(2), BootId{102}};
  EXPECT_EQ(test(lost).code, Errc::not_permitted);
  EXPECT_TRUE(test(ProposeView{1, {node_of(1)}}).is_done());
  EXPECT_EQ(test(DeclareLost{node_of(2), BootId{7}}).code, Errc::conflict);
  const std::uint64_t before = test.index;
  EXPECT_TRUE(test(lost).is_done());
  EXPECT_TRUE(test(lost).is_done());
  EXPECT_EQ(test.events_after(before).size(), 1u);
  EXPECT_EQ(test(ProposeView{2, {node_of(1), node_of(2)}}).code, Errc::not_permitted);
  // The boot that is lost does not come back, not even by announcing itself.
  EXPECT_EQ(test(Announce{node_of(2), BootId{102}, BootId{102}, "h", 1}).code, Errc::conflict);
  EXPECT_EQ(test(Announce{node_of(2), BootId{103}, BootId{99}, "h", 1}).code, Errc::conflict);
  EXPECT_TRUE(test(Announce{node_of(2), BootId{103}, BootId{102}, "h", 1}).is_done());
  EXPECT_TRUE(test(ProposeView{2, {node_of(1), node_of(2)}}).is_done());
  // A late announcement of an earlier boot is of no effect.
  EXPECT_EQ(test(Announce{node_of(2), BootId{102}, BootId{101}, "h", 1}).code, Errc::conflict);
}

TEST(Roster, ABootThatIsNotLostIsNotReplaced) {
  TestState test;
  test.with_nodes(1);
  const Announce booted{node_of(1), BootId{201}, BootId{101}, "h", 1};
  EXPECT_EQ(test(booted).code, Errc::conflict);
  EXPECT_TRUE(test(Announce{node_of(1), BootId{101}, BootId{101}, "elsewhere:1", 1}).is_done());
  EXPECT_EQ(test.state.roster().find(node_of(1))->address, "elsewhere:1");
  // The only node, after a reboot: out, lost, announced, in.
  EXPECT_TRUE(test(ProposeView{1, {}}).is_done());
  EXPECT_EQ(test(booted).code, Errc::conflict);
  EXPECT_TRUE(test(DeclareLost{node_of(1), BootId{101}}).is_done());
  EXPECT_TRUE(test(booted).is_done());
  EXPECT_EQ(test(ProposeView{2, {node_of(1)}}).number, 3u);
}

TEST(Roster, NumbersOfNodesEnd) {
  Roster roster;
  std::vector<Change> changes;
  for (std::uint32_t number = 1; number <= node_number_max; ++number) {
    ASSERT_EQ(roster.join(join_of("a"), changes).value(), number);
    ASSERT_TRUE(roster.leave({node_of(number)}, changes).has_value());
  }
  EXPECT_EQ(roster.join(join_of("a"), changes).error().code, Errc::limit_reached);
}

}  // namespace
}  // namespace dvs::cluster
