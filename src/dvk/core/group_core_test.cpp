// The group's rules one by one; group_network_test.cpp tries them all at once.
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "dvk/core/test_group.hpp"

namespace dvk::core {
namespace {

TEST(GroupCore, OneMemberAloneDeliversAtOnce) {
  Group group;
  group.install_all(1, {1});
  group.multicast(1, "a");
  group.run();
  EXPECT_EQ(group.read(1), (Texts{"view 1", "a"}));
  EXPECT_EQ(group.sent(), 0U);
}

TEST(GroupCore, AllDeliverTheSameInTheSameOrder) {
  Group group;
  group.install_all(1, {1, 2, 3, 4});
  group.run();
  for (const auto serial : {1, 2, 3, 4}) {
    group.multicast(static_cast<std::uint64_t>(serial), "a" + std::to_string(serial));
    group.multicast(static_cast<std::uint64_t>(serial), "b" + std::to_string(serial));
  }
  group.run();
  const Texts first = group.read(1);
  EXPECT_EQ(first.size(), 9U);
  for (const auto serial : {2, 3, 4})
    EXPECT_EQ(group.read(static_cast<std::uint64_t>(serial)), first);
}

TEST(GroupCore, DeliveryTellsSenderNumberAndPosition) {
  Group group;
  group.install_all(1, {1, 2});
  group.multicast(2, "x");
  group.multicast(2, "y");
  group.run();
  const auto view = std::get<GroupViewDelivery>(group[1].next_delivery().value());
  EXPECT_EQ(view.position, 1U);
  EXPECT_EQ(view.members, (std::vector{address_of(1), address_of(2)}));
  EXPECT_EQ(view.joined, view.members);
  std::ignore = group[1].next_delivery();
  const auto second = std::get<GroupMessageDelivery>(group[1].next_delivery().value());
  EXPECT_EQ(second.sender, address_of(2));
  EXPECT_EQ(second.number, 2U);
  EXPECT_EQ(second.position, 3U);
}

TEST(GroupCore, NothingIsDeliveredBeforeAllHoldIt) {
  for (const std::uint64_t last : {3, 5}) {  // with acknowledgements to all, and to the leader only
    Group group;
    std::vector<std::uint64_t> members;
    for (std::uint64_t serial = 1; serial <= last; ++serial) members.push_back(serial);
    group.install_all(1, members);
    group.run();
    for (const auto serial : members) EXPECT_EQ(group.read(serial), Texts{"view 1"});
    group.block(1, last);
    group.multicast(2, "a");
    group.run();
    for (const auto serial : members) EXPECT_EQ(group.read(serial), Texts{});
    group.unblock();
    group.run();
    for (const auto serial : members) EXPECT_EQ(group.read(serial), Texts{"a"});
  }
}

// What one multicast of member 2 costs in a view of so many members.
std::size_t cost_of(std::uint64_t members, int multicasts) {
  Group group;
  std::vector<std::uint64_t> list;
  for (std::uint64_t serial = 1; serial <= members; ++serial) list.push_back(serial);
  group.install_all(1, list);
  group.run();
  const std::size_t before = group.sent();
  for (int i = 0; i < multicasts; ++i) group.multicast(2, "a");
  group.run();
  return group.sent() - before;
}

TEST(GroupCore, CostsAsManyMessagesAsPromised) {
  EXPECT_EQ(cost_of(2, 1), 1U + 1 + 1);
  EXPECT_EQ(cost_of(3, 1), 1U + 2 + 4);
  EXPECT_EQ(cost_of(5, 1), 1U + 3 * 4);
  EXPECT_EQ(cost_of(5, 200), 1U + 3 * 4) << "what comes in one turn costs no more than one";
}

TEST(GroupCore, RefusesWhatItCannotTake) {
  Group group;
  group.add(1, {.outstanding_max = 2});
  group.multicast(1, "before the first view");
  group.multicast(1, "too");
  EXPECT_EQ(group[1].multicast({}).error(), Errc::queue_full);
  group.install(1, 1, {1});
  group.run();
  EXPECT_EQ(group[1].multicast({}).error(), Errc::queue_full) << "not delivered yet";
  EXPECT_EQ(group.read(1).size(), 3U);
  EXPECT_EQ(group[1].multicast(Bytes(wire::group_payload_bytes_max + 1)).error(),
            Errc::message_too_large);
  EXPECT_EQ(group[1].multicast(Bytes(wire::group_payload_bytes_max)), 3U);

  EXPECT_EQ(group[1].install({0, {address_of(1)}}).error(), Errc::invalid_argument);
  EXPECT_EQ(group[1].install({2, {}}).error(), Errc::invalid_argument);
  EXPECT_EQ(group[1].install({2, {address_of(1), address_of(1)}}).error(), Errc::invalid_argument);
  EXPECT_EQ(group[1].install({2, {Address{}, address_of(1)}}).error(), Errc::invalid_argument);
  EXPECT_FALSE(group[1].is_evicted());
  group.install(1, 2, {7, 8});
  EXPECT_TRUE(group[1].is_evicted());
  EXPECT_EQ(group[1].multicast({}).error(), Errc::not_permitted);
  group.install(1, 3, {1});
  EXPECT_TRUE(group[1].is_evicted()) << "for good";
}

TEST(GroupCore, WhatOnlyOneSurvivorHoldsReachesAll) {
  Group group;
  group.install_all(1, {1, 2, 3, 4});
  group.run();
  group.block(1, 2);
  group.block(1, 4);
  group.multicast(1, "a");
  group.multicast(1, "b");
  group.run();
  group.die(1);
  group.lose_waiting();
  group.unblock();
  for (const auto serial : {2, 3, 4})
    group.install(static_cast<std::uint64_t>(serial), 2, {2, 3, 4});
  group.run();
  for (const auto serial : {2, 3, 4}) {
    EXPECT_EQ(group.read(static_cast<std::uint64_t>(serial)),
              (Texts{"view 1", "a", "b", "view 2"}));
  }
}

TEST(GroupCore, SurvivorsMessagesGoToTheNewLeaderOnce) {
  Group group;
  group.install_all(1, {1, 2, 3});
  group.run();
  group.block(1, 3);
  group.multicast(3, "ordered, but 3 does not know");
  group.run();
  group.block(3, 1);
  group.multicast(3, "lost with the leader");
  group.run();
  group.die(1);
  group.lose_waiting();
  for (const auto serial : {2, 3}) group.install(static_cast<std::uint64_t>(serial), 2, {2, 3});
  group.run();
  const Texts expected{"view 1", "ordered, but 3 does not know", "view 2", "lost with the leader"};
  EXPECT_EQ(group.read(2), expected);
  EXPECT_EQ(group.read(3), expected);
}

TEST(GroupCore, ViewsMayComeLateAndOvertakeEachOther) {
  Group group;
  group.install_all(1, {1, 2, 3});
  group.run();
  group.add(4);
  group.install(1, 2, {3, 1, 2});
  group.run();
  group.install(1, 3, {3, 1, 4});
  group.install(4, 3, {3, 1, 4});
  group.multicast(4, "early");
  group.run();
  EXPECT_FALSE(group[1].is_in_view()) << "3 knows neither view";
  group.install(3, 2, {3, 1, 2});
  group.install(2, 2, {3, 1, 2});
  group.run();
  group.install(3, 3, {3, 1, 4});
  group.run();
  EXPECT_EQ(group.read(1), (Texts{"view 1", "view 3", "early"}));
  EXPECT_EQ(group.read(3), (Texts{"view 1", "view 3", "early"}));
  EXPECT_EQ(group.read(4), (Texts{"view 3", "early"}));
}

TEST(GroupCore, AJoiningLeaderPassesOnWhatItNeverDelivers) {
  Group group;
  group.install_all(1, {1, 2, 3});
  group.run();
  group.block(1, 3);
  group.multicast(1, "a");
  group.run();
  group.die(1);
  group.lose_waiting();
  group.add(9);
  for (const auto serial : {9, 2, 3})
    group.install(static_cast<std::uint64_t>(serial), 2, {9, 2, 3});
  group.multicast(9, "hello");
  group.run();
  EXPECT_EQ(group.read(2), (Texts{"view 1", "a", "view 2", "hello"}));
  EXPECT_EQ(group.read(3), (Texts{"view 1", "a", "view 2", "hello"}));
  const auto first = std::get<GroupViewDelivery>(group[9].next_delivery().value());
  EXPECT_EQ(first.joined, std::vector{address_of(9)});
  EXPECT_EQ(first.position, 3U);
  EXPECT_EQ(group.read(9), Texts{"hello"});
  EXPECT_EQ(group[9].retained_bytes(), 0U);
}

// Members 1, 2 and 3 are in view 1. The leader, 1, dies; of the other two this one has nothing of
// what it sent, which is far more than fits into a message.
void die_with_a_large_history_unknown_to(Group& group, std::uint64_t member) {
  group.install_all(1, {1, 2, 3});
  group.run();
  group.block(1, member);
  for (int i = 0; i < 20; ++i) group.multicast(1, std::string(wire::group_payload_bytes_max, 'x'));
  group.run();
  group.die(1);
  group.lose_waiting();
}

TEST(GroupCore, LargeHistoriesAreRepeatedInPieces) {
  Group group;
  die_with_a_large_history_unknown_to(group, 2);
  group.install(2, 2, {2, 3});
  group.install(3, 2, {2, 3});
  group.run();  // the output checks every size
  EXPECT_EQ(group.read(2).size(), 22U);
  EXPECT_EQ(group.read(3).size(), 22U);
}

// What it has fetched of a history that is lost with its holders is not the beginning of a new one.
TEST(GroupCore, AJoiningLeaderForgetsWhatItFetchedInVain) {
  Group group;
  die_with_a_large_history_unknown_to(group, 3);
  group.add(9);
  for (const auto serial : {9, 2, 3})
    group.install(static_cast<std::uint64_t>(serial), 2, {9, 2, 3});
  while (group[9].retained_bytes() == 0) {
    for (const std::uint64_t serial : {9, 2, 3}) group[serial].end_turn();
    ASSERT_TRUE(group.deliver_one());
  }
  group.lose_waiting();
  group.install(9, 3, {9});
  group.run();
  const auto first = group[9].next_delivery();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(std::get<GroupViewDelivery>(*first).number, 3U);
  EXPECT_EQ(std::get<GroupViewDelivery>(*first).position, 1U);
  EXPECT_EQ(group[9].retained_bytes(), 0U);
}

TEST(GroupCore, ABrokenConversationIsMadeGood) {
  for (const bool leader_is_told : {true, false}) {
    Group group;
    group.install_all(1, {1, 2, 3, 4});
    group.run();
    group.block(1, 2);
    group.block(2, 1);
    group.multicast(1, "from the leader");
    group.multicast(2, "to the leader");
    group.run();
    group.lose_waiting();
    group.unblock();
    group.run();
    EXPECT_EQ(group.read(3), Texts{"view 1"});
    if (leader_is_told) group[1].on_peer_broken(address_of(2));
    if (!leader_is_told) group[2].on_peer_broken(address_of(1));
    group.run();
    for (const auto serial : {1, 3, 4}) {
      EXPECT_EQ(group.read(static_cast<std::uint64_t>(serial)),
                serial == 3 ? (Texts{"from the leader", "to the leader"})
                            : (Texts{"view 1", "from the leader", "to the leader"}));
    }
  }
}

// One that is left out may be out of reach for ever: it is not asked again and again.
TEST(GroupCore, WhoIsNotInTheViewIsNotAskedToRepeat) {
  Group group;
  group.install_all(1, {1, 2, 3});
  group.run();
  group.install_all(2, {1, 2});
  group.run();
  const std::size_t before = group.sent();
  group[1].on_peer_broken(address_of(3));
  group[1].end_turn();
  EXPECT_EQ(group.sent(), before);
}

// Its report may have been lost, before the view was known here.
TEST(GroupCore, WhoBrokeBeforeItsViewCameIsAskedThen) {
  Group group;
  group.install_all(1, {1, 2});
  group.run();
  group.add(3);
  group.install(3, 2, {1, 3});
  group[3].end_turn();
  group.lose_waiting();
  group[1].on_peer_broken(address_of(3));
  group.run();
  group.install(1, 2, {1, 3});
  group.run();
  EXPECT_EQ(group.read(3), Texts{"view 2"});
}

TEST(GroupCore, ASlowReaderSlowsTheGroupDown) {
  Group group;
  for (const auto serial : {1, 2, 3, 4}) {
    group.add(static_cast<std::uint64_t>(serial), {.outstanding_max = 8, .window_bytes = 4000});
  }
  group.install_all(1, {1, 2, 3, 4});
  for (const std::uint64_t slow : {1, 3}) {
    std::size_t accepted = 0;
    for (int round = 0; round < 200; ++round) {
      if (group[2].multicast(dvs::as_bytes("0123456789"))) ++accepted;
      group.run();
      for (const std::uint64_t serial : {1, 2, 3, 4}) {
        if (serial != slow) group.read(serial);
      }
    }
    EXPECT_LT(accepted, 60U);
    EXPECT_GE(accepted, 8U);
    EXPECT_LT(group[slow].retained_bytes(), 20000U);
    std::size_t read = 1;
    while (read > 0) {
      read = 0;
      for (const std::uint64_t serial : {1, 2, 3, 4}) read += group.read(serial).size();
      group.run();
    }
    EXPECT_EQ(group[2].outstanding(), 0U);
  }
}

TEST(GroupCore, AFullReaderAndAJoiningMemberDoNotWaitForEachOther) {
  Group group;
  group.add(2, {.window_bytes = 1});
  group.install_all(1, {1, 2, 4});
  group.run();
  EXPECT_EQ(group.read(2), Texts{"view 1"});
  group.block(1, 2);
  for (const auto* text : {"a", "b", "c"}) group.multicast(1, text);
  group.run();
  group.die(4);
  group.lose_waiting();
  group.unblock();
  group.install_all(2, {1, 2, 3});
  Texts texts;
  for (int round = 0; round < 10; ++round) {
    group.run();
    for (const std::string& text : group.read(2)) texts.push_back(text);
  }
  EXPECT_EQ(texts, (Texts{"a", "b", "c", "view 2"}));
}

TEST(GroupCore, AFetchLostOnTheWayIsRepeated) {
  for (const bool leader_is_told : {true, false}) {
    Group group;
    group.install_all(1, {1, 2, 3});
    group.run();
    group.block(1, 2);
    group.multicast(1, "a");
    group.run();
    group.die(1);
    group.lose_waiting();
    group.install(2, 2, {2, 3});
    group.unblock();
    group.install(3, 2, {2, 3});
    group[3].end_turn();
    group.deliver_one();  // the report
    group[2].end_turn();
    group.lose_waiting();  // the fetch
    group.unblock();
    group.run();
    EXPECT_FALSE(group[2].is_in_view());
    if (leader_is_told) group[2].on_peer_broken(address_of(3));
    if (!leader_is_told) group[3].on_peer_broken(address_of(2));
    group.run();
    EXPECT_EQ(group.read(2), (Texts{"view 1", "a", "view 2"}));
    EXPECT_EQ(group.read(3), (Texts{"view 1", "a", "view 2"}));
  }
}

TEST(GroupCore, WhoeverWasLeftOutIsEvictedWhenItComesBack) {
  Group group;
  group.install_all(1, {1, 2, 3});
  group.run();
  group.install(1, 2, {1, 2});
  group.install(2, 2, {1, 2});
  group.multicast(1, "without 3");
  group.run();
  for (const std::uint64_t serial : {1, 2, 3}) group.install(serial, 3, {1, 2, 3});
  group.run();
  EXPECT_TRUE(group[3].is_evicted());
  EXPECT_EQ(group.read(3), Texts{"view 1"});
}

TEST(GroupCore, ReportsOfFutureViewsAreBoundedAndAskedForAgain) {
  Group group;
  group.add(1);
  group.add(2);
  const Bytes early = wire::encode_group(wire::GroupReport{5, false, 0, 0});
  for (std::uint64_t serial = 10; serial < 10 + 2 * wire::group_members_max; ++serial) {
    ASSERT_TRUE(group[1].on_message(address_of(serial), early).has_value());
  }
  group.install(2, 1, {1, 2});
  group.run();  // the report of 2 finds no room
  group.install(1, 1, {1, 2});
  group.run();
  EXPECT_EQ(group.read(2), Texts{"view 1"});
}

TEST(GroupCore, RubbishIsRefusedAndHarmsNobody) {
  Group group;
  group.install_all(1, {1, 2, 3, 4});
  group.run();
  const auto from = [&](std::uint64_t sender, std::uint64_t to, const wire::GroupMessage& message) {
    const auto taken = group[to].on_message(address_of(sender), wire::encode_group(message));
    return taken ? Errc{} : taken.error().code;
  };
  const wire::GroupEntry entry{wire::GroupEntryKind::message, address_of(2), 1, {}, {}};
  const wire::GroupEntry stranger{wire::GroupEntryKind::message, address_of(8), 1, {}, {}};
  const wire::GroupEntry skipped{wire::GroupEntryKind::message, address_of(4), 7, {}, {}};
  const wire::GroupEntry own{wire::GroupEntryKind::own, address_of(4), 1, {}, {}};
  const wire::GroupEntry stolen{wire::GroupEntryKind::own, address_of(2), 1, {}, {}};
  const wire::GroupEntry view{wire::GroupEntryKind::view, {}, 1, {{address_of(4), 0, true}}, {}};
  const Errc refused = Errc::protocol_violation;
  EXPECT_EQ(from(9, 1, wire::GroupStable{1, 1}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupStable{1, 1}), refused);
  EXPECT_EQ(from(1, 4, wire::GroupStable{1, 2}), refused);
  EXPECT_EQ(from(1, 4, wire::GroupStable{2, 1}), refused);
  EXPECT_EQ(from(2, 1, wire::GroupStable{1, 1}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupOrdered{1, 2, 0, false, {entry}}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupFetch{1, 0, 1}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupReport{1, false, 0, 0}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupHeld{1, 1, {entry}}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupSubmit{1, 0, 1, {Bytes{}}}), refused);
  EXPECT_EQ(from(2, 4, wire::GroupAcknowledge{1, 1}), refused);
  EXPECT_EQ(from(2, 1, wire::GroupAcknowledge{1, 2}), refused);
  EXPECT_EQ(from(2, 1, wire::GroupSubmit{1, 9, 1, {Bytes{}}}), refused);
  EXPECT_EQ(from(1, 4, wire::GroupOrdered{1, 2, 9, false, {entry}}), refused);
  for (const auto& bad : {stranger, skipped, own, stolen, view}) {
    EXPECT_EQ(from(1, 4, wire::GroupOrdered{1, 3, 1, false, {bad}}), refused);
  }
  EXPECT_EQ(group[4].on_message(address_of(1), {}).error(), refused);
  EXPECT_EQ(group[1].on_message(address_of(2), Bytes{std::byte{9}, {}}).error(),
            Errc::version_mismatch);
  for (const std::uint64_t serial : {1, 2, 3, 4}) EXPECT_EQ(group.read(serial), Texts{"view 1"});
}

TEST(GroupCore, ALeaderTakesNoMoreThanMayBeOutstanding) {
  Group group;
  group.add(1, {.window_bytes = 1});
  group.add(2);
  group.install_all(1, {1, 2});
  group.run();
  const wire::GroupSubmit flood{1, 0, 1, std::vector<Bytes>(group_outstanding_max + 5)};
  EXPECT_EQ(group[1].on_message(address_of(2), wire::encode_group(flood)).error(),
            Errc::protocol_violation);
}

}  // namespace
}  // namespace dvk::core
