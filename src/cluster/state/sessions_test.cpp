// At most once: repeated proposals, windows and eviction.
#include "cluster/state/sessions.hpp"

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

TEST(Sessions, ARepeatedProposalGetsTheSameAnswerAndIsNotApplied) {
  TestState test;
  const Proposal first{test.client, 1, Put{"a", value_of("1"), {}}};
  const Answer answer = test.apply(first);
  test.sequence = 1;
  test(Put{"a", value_of("2"), {}});
  EXPECT_EQ(test.apply(first), answer);
  EXPECT_EQ(*test.state.settings().find("a"), value_of("2"));
  // A refusal is an answer as well, even if it would be done now.
  const Proposal refused{test.client, 3, Put{"b", {}, {true, 77}}};
  EXPECT_EQ(test.apply(refused).code, Errc::conflict);
  test.sequence = 3;
  test(Put{"b", {}, {}});
  EXPECT_EQ(test.apply(refused).code, Errc::conflict);
}

TEST(Sessions, ProposalsUnderWayMayArriveInAnyOrder) {
  Limits limits;
  limits.answers_per_session = 4;
  TestState test(limits);
  for (const std::uint64_t sequence : {4, 2, 3, 1}) {
    EXPECT_TRUE(test.apply({test.client, sequence, Put{"a", {}, {}}}).is_done());
  }
  EXPECT_TRUE(test.apply({test.client, 5, Put{"a", {}, {}}}).is_done());
  // Out of the window: whether it was applied is not known any more, so it never is again.
  EXPECT_EQ(test.apply({test.client, 1, Put{"a", {}, {}}}).code, Errc::session_expired);
  EXPECT_EQ(test.apply({test.client, 0, Put{"a", {}, {}}}).code, Errc::session_expired);
}

TEST(Sessions, TheOneThatWasSilentForLongestIsEvicted) {
  Limits limits;
  limits.sessions = 3;
  TestState test(limits);
  const auto open = [&] { return ClientId{test.apply({ClientId{}, 0, OpenSession{}}).number}; };
  const ClientId second = open();
  const ClientId third = open();
  EXPECT_TRUE(test(Put{"a", {}, {}}).is_done());
  const ClientId fourth = open();
  EXPECT_EQ(test.apply({second, 1, Put{"a", {}, {}}}).code, Errc::session_expired);
  EXPECT_TRUE(test.apply({third, 1, Put{"a", {}, {}}}).is_done());
  EXPECT_TRUE(test.apply({fourth, 1, Put{"a", {}, {}}}).is_done());
  EXPECT_TRUE(test(Put{"a", {}, {}}).is_done());
}

TEST(Sessions, AnUnknownSessionIsRefused) {
  TestState test;
  EXPECT_EQ(test.apply({ClientId{999}, 1, Put{"a", {}, {}}}).code, Errc::session_expired);
  EXPECT_EQ(test.state.settings().find("a"), nullptr);
}

}  // namespace
}  // namespace dvs::cluster
