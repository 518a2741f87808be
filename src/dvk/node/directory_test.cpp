// Names: who holds them, who finds them, and how the authority rebuilds what it knows. Node 1 is
// the authority of a view that contains it.
#include "dvk/node/directory.hpp"

#include <gtest/gtest.h>

#include "dvk/node/test_cluster.hpp"

namespace dvk::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class DirectoryTest : public ClusterTest {
 protected:
  // The answer of the authority, node 1, to a lookup that node `from` sends by hand.
  Errc answer_to(unsigned from, std::uint64_t view, const std::string& name) {
    node(1).lanes[{id(from), Lane::message}].clear();
    EXPECT_TRUE(
        inject(from, 1,
               wire::Lookup{.request = 99, .view = view, .container = ContainerId{1}, .name = name})
            .has_value());
    const auto results = node(1).under_way<wire::LookupResult>(id(from));
    node(1).lanes[{id(from), Lane::message}].clear();
    return results.size() == 1 ? results[0].error : Errc::system;
  }
};

// --- Names ---------------------------------------------------------------------------------------

TEST_F(DirectoryTest, ANameIsFoundFromEveryNode) {
  for (unsigned at = 1; at <= node_count; ++at) {
    const std::string name = "name" + std::to_string(at);
    const Process holder = open(at, name);
    for (unsigned from = 1; from <= node_count; ++from) {
      EXPECT_EQ(look_up(open(from), name), (Found{Errc{}, holder.address})) << at << from;
    }
  }
}

TEST_F(DirectoryTest, WhatNobodyHoldsIsUnknown) {
  const Process asker = open(2);
  EXPECT_EQ(look_up(asker, "nobody").first, Errc::unknown_endpoint);
  EXPECT_EQ(look_up(asker, "").first, Errc::unknown_endpoint);
  EXPECT_EQ(look_up(asker, std::string(4000, 'x')).first, Errc::unknown_endpoint);
}

TEST_F(DirectoryTest, AHeldNameIsRefusedToOthers) {
  const Process holder = open(2, "name");
  for (unsigned at = 1; at <= node_count; ++at) {
    const Process other = attach(at, {.name = "name"});
    settle();
    EXPECT_EQ(refusal(other), Errc::name_in_use);
    close(other);
    settle();
  }
  EXPECT_EQ(look_up(open(1), "name").second, holder.address);
}

TEST_F(DirectoryTest, ContainersHaveNamesOfTheirOwn) {
  const Process one = open(1, "name", 0, 1), two = open(2, "name", 0, 2);
  EXPECT_EQ(look_up(open(3, "", 0, 1), "name").second, one.address);
  EXPECT_EQ(look_up(open(3, "", 0, 2), "name").second, two.address);
  EXPECT_EQ(look_up(open(3, "", 0, 3), "name").first, Errc::unknown_endpoint);
}

TEST_F(DirectoryTest, TheNextHolderHasTheSameIdAndAnotherLife) {
  const Process first = open(2, "name");
  close(first);
  settle();
  EXPECT_EQ(look_up(open(1), "name").first, Errc::unknown_endpoint);
  const Process second = open(3, "name");
  EXPECT_EQ(second.address.id, first.address.id);
  EXPECT_NE(second.address.incarnation, first.address.incarnation);
  EXPECT_EQ(birth_node(second.address.incarnation), id(3));
  EXPECT_EQ(look_up(open(1), "name").second, second.address);
}

TEST_F(DirectoryTest, AProcessThatDoesNotWaitLeavesNoName) {
  const Process hasty = attach(2, {.name = "name"});
  close(hasty);
  settle();
  EXPECT_EQ(look_up(open(1), "name").first, Errc::unknown_endpoint);
  // Also where the name has had an id before.
  close(open(3, "name"));
  settle();
  close(attach(2, {.name = "name"}));
  settle();
  EXPECT_EQ(look_up(open(1), "name").first, Errc::unknown_endpoint);
  open(3, "name");
}

// --- Readiness -----------------------------------------------------------------------------------

TEST_F(DirectoryTest, ARequestOfAnotherViewIsNotReady) {
  open(2, "name");
  EXPECT_EQ(answer_to(2, view_.number, "name"), Errc{});
  EXPECT_EQ(answer_to(2, view_.number - 1, "name"), Errc::not_ready);
  EXPECT_EQ(answer_to(2, view_.number + 1, "name"), Errc::not_ready);
}

TEST_F(DirectoryTest, OneThatIsNotTheAuthorityIsNotReady) {
  EXPECT_TRUE(
      inject(3, 2, wire::Lookup{.request = 9, .view = view_.number, .name = "x"}).has_value());
  const auto results = node(2).under_way<wire::LookupResult>(id(3));
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].error, Errc::not_ready);
}

TEST_F(DirectoryTest, NothingIsAnsweredBeforeAllHaveReported) {
  const Process holder = open(3, "name");
  const Process asker = open(2);
  install_view({1, 2, 3});
  deliver(2, 1);
  tell(asker, wire::NameQuery{.request = 5, .name = "name"});
  deliver(2, 1);
  deliver(1, 2);
  EXPECT_TRUE(hears_nothing(asker));
  const Process other = attach(2, {.name = "name"});
  deliver(2, 1);
  deliver(1, 2);
  EXPECT_TRUE(hears_nothing(other));
  EXPECT_LE(core(2).next_deadline(), now + Directory::retry_after);
  deliver(3, 1);
  pass(Directory::retry_after);
  EXPECT_EQ(next<wire::NameResult>(asker)->address, holder.address);
  EXPECT_EQ(refusal(other), Errc::name_in_use);
  EXPECT_EQ(core(2).next_deadline(), dvs::never);
}

// Nobody takes out of a static view what is gone for good: that would be the end of all names.
TEST_F(DirectoryTest, InAStaticViewAMemberWhoseLinkIsDownIsNotWaitedFor) {
  const Process asker = open(2);
  view_.is_static = true;
  install_view({1, 2, 3});
  deliver(2, 1);
  drop(1, 3);
  EXPECT_EQ(answer_to(2, view_.number, "x"), Errc::not_ready);
  core(1).on_link_down(id(3), now);
  EXPECT_EQ(answer_to(2, view_.number, "x"), Errc::unknown_endpoint);
  // Nor in the next view.
  install_view({1, 2, 3});
  deliver(2, 1);
  EXPECT_EQ(answer_to(2, view_.number, "x"), Errc::unknown_endpoint);
  EXPECT_EQ(look_up(asker, "x").first, Errc::unknown_endpoint);
}

TEST_F(DirectoryTest, AMemberThatIsLostIsNotWaitedFor) {
  install_view({1, 2, 3});
  deliver(2, 1);
  drop(1, 3);
  EXPECT_EQ(answer_to(2, view_.number, "x"), Errc::not_ready);
  core(1).on_node_lost(id(3), now);
  settle();
  EXPECT_EQ(answer_to(2, view_.number, "x"), Errc::unknown_endpoint);
}

TEST_F(DirectoryTest, AReportComesInPieces) {
  for (int i = 0; i < 600; ++i) open(3, "name" + std::to_string(i));
  open(3, "last");
  install_view({1, 2, 3});
  const auto reports = node(3).under_way<wire::Report>(id(1));
  ASSERT_EQ(reports.size(), 3U);
  EXPECT_TRUE(reports[0].is_first && !reports[0].is_last);
  EXPECT_TRUE(!reports[1].is_first && !reports[1].is_last);
  EXPECT_TRUE(!reports[2].is_first && reports[2].is_last);
  deliver(2, 1);
  deliver_one(3, 1);
  deliver_one(3, 1);
  EXPECT_EQ(answer_to(2, view_.number, "last"), Errc::not_ready);
  deliver_one(3, 1);
  EXPECT_EQ(answer_to(2, view_.number, "last"), Errc{});
  EXPECT_EQ(look_up(open(2), "name0").first, Errc{});
  EXPECT_EQ(look_up(open(2), "name599").first, Errc{});
}

TEST_F(DirectoryTest, AReportBrokenOffInTheMiddleIsGivenAgain) {
  for (int i = 0; i < 300; ++i) open(3, "name" + std::to_string(i));
  install_view({1, 2, 3});
  deliver(2, 1);
  deliver_one(3, 1);
  renew_session(1, 3);
  deliver(3, 1);
  for (const char* name : {"name0", "name299"}) {
    EXPECT_EQ(answer_to(2, view_.number, name), Errc{}) << name;
  }
}

TEST_F(DirectoryTest, AReportOfAnotherViewIsIgnored) {
  open(3, "name");
  EXPECT_TRUE(
      inject(3, 1, wire::Report{.view = view_.number - 1, .is_first = true, .is_last = true})
          .has_value());
  EXPECT_EQ(answer_to(2, view_.number, "name"), Errc{});
}

TEST_F(DirectoryTest, AReportOfAViewThatIsNotInstalledYetIsKept) {
  open(3, "name");
  settle();
  view_.number += 1;
  core(2).install_view(view_, now);
  core(3).install_view(view_, now);
  settle();  // both reports meet an authority that is still in the view before
  core(1).install_view(view_, now);
  EXPECT_EQ(answer_to(2, view_.number, "name"), Errc{});
}

TEST_F(DirectoryTest, ANewReportReplacesWhatWasKnownOfThatNode) {
  const Process gone = open(3, "gone");
  open(3, "stays");
  open(2, "others");
  close(gone);
  drop(1, 3);  // the notice of its end is lost
  EXPECT_EQ(answer_to(2, view_.number, "gone"), Errc{});
  renew_session(1, 3);
  settle();
  EXPECT_EQ(answer_to(2, view_.number, "gone"), Errc::unknown_endpoint);
  EXPECT_EQ(answer_to(2, view_.number, "stays"), Errc{});
  EXPECT_EQ(answer_to(2, view_.number, "others"), Errc{});
}

TEST_F(DirectoryTest, TheNextAuthorityLearnsEverythingFromTheNodes) {
  open(1, "one");
  const Process on_two = open(2, "two"), on_three = open(3, "three");
  lose(1);
  settle();
  for (const unsigned from : {2U, 3U}) {
    const Process asker = open(from);
    EXPECT_EQ(look_up(asker, "one").first, Errc::unknown_endpoint);
    EXPECT_EQ(look_up(asker, "two"), (Found{Errc{}, on_two.address}));
    EXPECT_EQ(look_up(asker, "three"), (Found{Errc{}, on_three.address}));
  }
  open(3, "one");
}

TEST_F(DirectoryTest, ARequestUnderWayGoesToTheNextAuthority) {
  const Process asker = open(3);
  const Process holder = open(2, "name");
  tell(asker, wire::NameQuery{.request = 5, .name = "name"});
  lose(1);
  settle();
  pass(milliseconds(100));
  EXPECT_EQ(next<wire::NameResult>(asker)->address, holder.address);
}

TEST_F(DirectoryTest, ARestartedAuthorityLearnsEverythingAgain) {
  const Process holder = open(2, "name");
  const Process asker = open(3);
  restart(1);
  settle();
  EXPECT_EQ(look_up(asker, "name"), (Found{Errc{}, holder.address}));
}

TEST_F(DirectoryTest, NamesOfARestartedNodeAreFree) {
  open(2, "name");
  restart(2);
  settle();
  EXPECT_EQ(answer_to(3, view_.number, "name"), Errc::unknown_endpoint);
  open(3, "name");
}

// --- Time ----------------------------------------------------------------------------------------

TEST_F(DirectoryTest, WithoutAnAnswerItGivesUpInTime) {
  const Process asker = open(2);
  tell(asker, wire::NameQuery{.request = 5, .name = "name"});
  const Process opener = attach(2, {.name = "name"});
  drop(1, 2);
  const TimePoint begin = now;
  for (; now < begin + seconds(6); now += milliseconds(10)) {
    core(2).on_tick(now);
    node(2).lanes.clear();
    if (!node(2).told[asker.handle].empty()) break;
  }
  EXPECT_EQ(now - begin, Directory::request_timeout);
  EXPECT_EQ(next<wire::NameResult>(asker)->error, Errc::unreachable);
  EXPECT_EQ(refusal(opener), Errc::unreachable);
  EXPECT_EQ(core(2).next_deadline(), dvs::never);
}

TEST_F(DirectoryTest, AnUnansweredRequestIsRepeated) {
  const Process asker = open(2);
  tell(asker, wire::NameQuery{.request = 5, .name = "name"});
  drop(1, 2);
  now += Directory::repeat_after;
  core(2).on_tick(now);
  EXPECT_EQ(node(2).under_way<wire::Lookup>(id(1)).size(), 1U);
  settle();
  EXPECT_EQ(next<wire::NameResult>(asker)->error, Errc::unknown_endpoint);
}

// The process was told that it failed, so the name must not be taken when the request arrives late.
TEST_F(DirectoryTest, ARegistrationThatWasGivenUpTakesNoName) {
  for (const bool has_past_id : {false, true}) {
    if (has_past_id) {
      close(open(3, "name"));
      settle();
    }
    const Process late = attach(2, {.name = "name"});
    now += Directory::request_timeout;
    core(2).on_tick(now);  // with the request still on its way
    EXPECT_EQ(refusal(late), Errc::unreachable);
    settle();
    close(late);
    settle();
    EXPECT_EQ(answer_to(3, view_.number, "name"), Errc::unknown_endpoint) << has_past_id;
  }
}

// The answer was given in the view before, of which the report that came since says nothing.
TEST_F(DirectoryTest, AnAnswerFromBeforeAReportDoesNotCount) {
  const Process late = attach(2, {.name = "name"});
  deliver(2, 1);  // registered, and the answer is on its way
  core(2).on_link_up(id(1), false, now);
  deliver(1, 2);
  EXPECT_TRUE(hears_nothing(late));
  pass(std::chrono::seconds(2));
  const Address address = welcome(late);
  EXPECT_EQ(look_up(open(3), "name"), (Found{Errc{}, address}));
}

TEST_F(DirectoryTest, ARegistrationWhoseProcessDiedIsNotRepeated) {
  install_view({1, 2, 3});
  deliver(2, 1);  // node 3 has not reported: the directory is not ready
  const Process late = attach(2, {.name = "name"});
  deliver(2, 1);
  deliver(1, 2);
  close(late);
  settle();
  EXPECT_EQ(node(2).under_way<wire::Register>(id(1)).size(), 0U);
  now += Directory::repeat_after;
  core(2).on_tick(now);
  EXPECT_EQ(node(2).under_way<wire::Register>(id(1)).size(), 0U);
  EXPECT_EQ(look_up(open(3), "name").first, Errc::unknown_endpoint);
}

// It is in the report of neither node, as it moved between the two.
TEST_F(DirectoryTest, WhoMovesDuringAChangeOfViewKeepsItsName) {
  const Process holder = open(2, "name");
  const Process backup = open_backup(1, "name");
  const Process there = adopt(3, "name");
  tell(holder, wire::MoveOut{.target = id(3), .state_bytes = 1}, Bytes(1));
  deliver(2, 3);
  tell(there, wire::AdoptReady{});
  install_view({1, 2, 3});
  node(2).lanes[{id(1), Lane::message}].clear();
  deliver(3, 1);  // the report of its new node
  deliver(3, 2);
  deliver(2, 3);  // the decision
  deliver(3, 1);
  core(2).on_link_up(id(1), false, now);  // the report of its old node
  settle();
  pass(std::chrono::seconds(2));
  EXPECT_EQ(look_up(open(2), "name"), (Found{Errc{}, holder.address}));
  EXPECT_TRUE(hears_nothing(backup));
}

TEST_F(DirectoryTest, WithoutAViewItWaitsForOne) {
  TestNode lonely(7);
  lonely.core->on_hello(Handle{1}, ContainerId{1}, 0, {.name = "name"}, now);
  EXPECT_TRUE(lonely.told[Handle{1}].empty());
  lonely.core->install_view({1, {NodeId{7}}}, now);
  lonely.core->on_tick(now);
  ASSERT_EQ(lonely.told[Handle{1}].size(), 1U);
  EXPECT_TRUE(std::holds_alternative<wire::Welcome>(lonely.told[Handle{1}][0]));
}

// One that is silent may hold any name, until it reports or is taken out of the view.
TEST_F(DirectoryTest, ANameOfAMemberThatCannotBeHeardIsNotGivenAway) {
  open(3, "name");
  lose(1);
  settle();
  cut(2, 3);
  install_view({2, 3});
  core(2).on_link_down(id(3), now);
  const Process other = attach(2, {.name = "name"});
  pass(std::chrono::seconds(1));
  EXPECT_TRUE(hears_nothing(other));
  heal(2, 3);
  pass(std::chrono::seconds(1));
  EXPECT_EQ(refusal(other), Errc::name_in_use);
}

}  // namespace
}  // namespace dvk::node
