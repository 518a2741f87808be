// What the sessions of two lanes say of one peer.
#include "dvk/core/peer_life.hpp"

#include <gtest/gtest.h>

namespace dvk::core {
namespace {

using enum SessionCause;

void expect(const PeerLife::News& news, bool is_up, bool has_restarted, bool must_cut_bulk) {
  EXPECT_EQ(news.is_up, is_up);
  EXPECT_EQ(news.has_restarted, has_restarted);
  EXPECT_EQ(news.must_cut_bulk, must_cut_bulk);
}

TEST(PeerLife, BeginsWithTheMessageLane) {
  PeerLife life;
  expect(life.on_bulk_session(first), false, false, false);
  expect(life.on_message_session(first), true, false, false);
}

TEST(PeerLife, ASessionGivenUpOnEitherLaneLosesWhatWasUnderWay) {
  PeerLife life;
  expect(life.on_message_session(given_up), true, false, false);
  expect(life.on_bulk_session(given_up), true, false, false);
}

TEST(PeerLife, ARestartIsToldOnceAndByTheMessageLane) {
  PeerLife life;
  expect(life.on_bulk_session(peer_restarted), false, false, false);
  expect(life.on_message_session(peer_restarted), true, true, false);
}

// What went into the bulk lane in between is lost, and nobody else would tell.
TEST(PeerLife, ARestartThatTheBulkLaneSeesLateCutsItOffAndIsFollowedUp) {
  PeerLife life;
  expect(life.on_message_session(peer_restarted), true, true, true);
  expect(life.on_bulk_session(peer_restarted), true, false, false);
}

}  // namespace
}  // namespace dvk::core
