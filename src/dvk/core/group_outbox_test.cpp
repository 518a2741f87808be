#include "dvk/core/group_outbox.hpp"

#include <gtest/gtest.h>

#include "dvk/core/test_group.hpp"

namespace dvk::core {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Result;

class GroupOutboxTest : public testing::Test {
 protected:
  void send(const Address& member, unsigned number) { outbox.send(member, Bytes(number)); }
  // Gives out; the sizes of what `member` was given. Who is full takes nothing.
  std::vector<std::size_t> given_to(const Address& member, std::set<Address> full = {},
                                    Errc otherwise = Errc{}) {
    std::vector<std::size_t> given;
    outbox.give_out([&](const Address& to, BytesView message) -> Result<void> {
      if (full.contains(to)) return dvs::fail(Errc::queue_full);
      if (to == member) given.push_back(message.size());
      if (otherwise != Errc{}) return dvs::fail(otherwise);
      return {};
    });
    return given;
  }
  using Sizes = std::vector<std::size_t>;

  const Address one = address_of(1), two = address_of(2);
  const dvs::TimePoint start{std::chrono::seconds(100)};
  GroupOutbox outbox;
};

TEST_F(GroupOutboxTest, GivesOutInOrderOnce) {
  EXPECT_TRUE(outbox.is_empty());
  send(one, 1);
  send(one, 2);
  EXPECT_FALSE(outbox.is_empty());
  EXPECT_EQ(given_to(one), (Sizes{1, 2}));
  EXPECT_TRUE(outbox.is_empty());
  EXPECT_EQ(given_to(one), Sizes{});
}

TEST_F(GroupOutboxTest, WhatAFullQueueDoesNotTakeWaitsAndHoldsUpNobodyElse) {
  send(one, 1);
  send(two, 2);
  EXPECT_EQ(given_to(two, {one}), Sizes{2});
  EXPECT_FALSE(outbox.is_empty());
  send(one, 3);
  EXPECT_EQ(given_to(one), (Sizes{1, 3}));
}

TEST_F(GroupOutboxTest, WhatAMemberThatIsGoneDoesNotTakeIsDropped) {
  send(one, 1);
  given_to(one, {}, Errc::peer_died);
  EXPECT_TRUE(outbox.is_empty());
}

TEST_F(GroupOutboxTest, AfterABreakNothingGoesThereUntilThePauseIsOver) {
  EXPECT_EQ(outbox.next_deadline(), dvs::never);
  outbox.on_broken(one, start);
  send(one, 1);
  send(two, 2);
  EXPECT_EQ(given_to(one), Sizes{});
  EXPECT_EQ(outbox.next_deadline(), start + GroupOutbox::broken_pause);
  EXPECT_TRUE(outbox.take_mended(outbox.next_deadline() - dvs::Duration(1)).empty());
  EXPECT_EQ(outbox.take_mended(outbox.next_deadline()), std::set{one});
  // It belonged to the conversation that broke.
  EXPECT_TRUE(outbox.is_empty());
  EXPECT_EQ(outbox.next_deadline(), dvs::never);
  EXPECT_TRUE(outbox.take_mended(dvs::never).empty());
  send(one, 3);
  EXPECT_EQ(given_to(one), Sizes{3});
}

TEST_F(GroupOutboxTest, AnotherBreakDoesNotProlongThePause) {
  outbox.on_broken(one, start);
  outbox.on_broken(two, start + GroupOutbox::broken_pause / 2);
  EXPECT_EQ(outbox.take_mended(start + GroupOutbox::broken_pause), (std::set{one, two}));
}

}  // namespace
}  // namespace dvk::core
