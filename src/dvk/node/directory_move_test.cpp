// What the directory knows of endpoints that move while reports and registrations overtake each
// other. Node 1 is the authority; the endpoint begins on node 2.
#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

class DirectoryMoveTest : public ClusterTest {
 protected:
  DirectoryMoveTest() : holder(open(2, "name")), backup(open_backup(1, "name")) {}

  // To node 3 and back, while node 1 hears nothing from node 3: that registration comes late.
  Process move_there_and_back() {
    const Process there = decide_move(holder, 3);
    deliver(2, 3);
    const Process back = decide_move(there, 2);
    deliver(3, 2);
    deliver(2, 1);
    return back;
  }
  // What the authority says where the holder of the name is.
  NodeId place() {
    const wire::Lookup question{
        .request = 99, .view = view_.number, .container = ContainerId{1}, .name = "name"};
    node(1).lanes[{id(2), Lane::message}].clear();
    EXPECT_TRUE(inject(2, 1, question).has_value());
    const auto answers = node(1).under_way<wire::LookupResult>(id(2));
    node(1).lanes[{id(2), Lane::message}].clear();
    return answers.empty() ? dvs::no_node : answers[0].node;
  }
  std::size_t reported_by(unsigned number) {
    core(number).on_link_up(id(1), false, now);
    const auto reports = node(number).under_way<wire::Report>(id(1));
    return reports.empty() ? 0 : reports.back().entries.size();
  }

  Process holder, backup;
};

TEST_F(DirectoryMoveTest, TheOldNodeAnswersForItUntilTheNewOneIsHeard) {
  decide_move(holder, 3);
  renew_session(1, 2);
  deliver(2, 1);  // the new node has not even heard the decision
  EXPECT_EQ(place(), id(2));
  EXPECT_TRUE(hears_nothing(backup));
  settle();
  EXPECT_EQ(place(), id(3));
  EXPECT_TRUE(hears_nothing(backup));
}

TEST_F(DirectoryMoveTest, AnOlderReportDoesNotTakeItBack) {
  decide_move(holder, 3);
  deliver(2, 3);
  deliver(3, 1);
  renew_session(1, 2);
  deliver(2, 1);
  EXPECT_EQ(place(), id(3));
}

TEST_F(DirectoryMoveTest, ALateRegistrationDoesNotTakeItBack) {
  move_there_and_back();
  deliver(3, 1);
  EXPECT_EQ(place(), id(2));
}

TEST_F(DirectoryMoveTest, OnceTheNewPlaceIsKnownTheOldNodeForgets) {
  decide_move(holder, 3);
  EXPECT_EQ(reported_by(2), 1U);
  settle();
  EXPECT_EQ(reported_by(2), 0U);
  EXPECT_EQ(reported_by(3), 1U);
}

TEST_F(DirectoryMoveTest, TheOldNodeForgetsThoughTheWordOfItWasLost) {
  decide_move(holder, 3);
  deliver(2, 3);
  deliver(3, 1);
  deliver(1, 3);
  EXPECT_EQ(node(3).under_way<wire::MoveSettled>(id(2)).size(), 1U);
  renew_session(2, 3);
  settle();
  EXPECT_EQ(reported_by(2), 0U);
}

TEST_F(DirectoryMoveTest, TheOldNodeForgetsThoseThatDieWithTheNewOne) {
  decide_move(holder, 3);
  restart(3);
  settle();
  EXPECT_EQ(reported_by(2), 0U);
  settle();
  EXPECT_TRUE(next<wire::Promoted>(backup).has_value());
}

TEST_F(DirectoryMoveTest, WhoLeftANodeJustBeforeItsEndIsNotCalledDead) {
  decide_move(holder, 3);
  deliver(2, 3);  // and registers with node 1, which hears nothing from node 3 for a while
  core(1).on_node_lost(id(2), now);
  EXPECT_TRUE(hears_nothing(backup));
  settle();
  EXPECT_EQ(place(), id(3));
  EXPECT_TRUE(hears_nothing(backup));
}

TEST_F(DirectoryMoveTest, WhatTheOldNodeSaysOfTheDeadIsTakenBack) {
  const Process there = decide_move(holder, 3);
  deliver(2, 3);
  close(there);
  renew_session(1, 2);
  deliver(3, 1);
  deliver(2, 1);
  settle();
  EXPECT_TRUE(next<wire::Promoted>(backup).has_value());
}

TEST_F(DirectoryMoveTest, ALateRegistrationOfAnOlderPlaceIsTakenBack) {
  const Process back = move_there_and_back();
  EXPECT_EQ(place(), id(2));
  close(back);
  deliver(2, 1);
  settle();
  EXPECT_TRUE(next<wire::Promoted>(backup).has_value());
  EXPECT_EQ(look_up(backup, "name").first, Errc{});
}

TEST_F(DirectoryMoveTest, WhatIsTakenBackOfAnEarlierStayLeavesTheLaterOne) {
  const Process back = move_there_and_back();
  deliver(1, 2);
  deliver(2, 3);  // which need not answer for it any more
  decide_move(back, 3);
  deliver(2, 3);
  settle();
  EXPECT_EQ(place(), id(3));
  EXPECT_TRUE(hears_nothing(backup));
}

// --- Registrations that are overtaken ------------------------------------------------------------

TEST_F(DirectoryMoveTest, ARepeatedRequestThatWasRefusedTakesNothingLater) {
  const Process first = open(1, "other");
  const Process second = attach(2, {.name = "other"});
  now += Directory::repeat_after;
  core(2).on_tick(now);
  ASSERT_TRUE(deliver_one(2, 1));
  deliver(1, 2);
  EXPECT_EQ(refusal(second), Errc::name_in_use);
  close(first);
  settle();
  EXPECT_EQ(look_up(open(3), "other").first, Errc::unknown_endpoint);
}

TEST_F(DirectoryMoveTest, AnEndAfterAReportThatWaitsForItsViewCounts) {
  const Process other = open(2, "other");
  ++view_.number;
  for (const unsigned early : {2U, 3U}) core(early).install_view(view_, now);
  settle();
  close(other);
  settle();
  core(1).install_view(view_, now);
  settle();
  EXPECT_EQ(look_up(open(3), "other").first, Errc::unknown_endpoint);
}

}  // namespace
}  // namespace dvk::node
