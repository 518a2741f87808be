#include "dvk/wire/group_message.hpp"

#include <gtest/gtest.h>

namespace dvk::wire {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::Errc;

Address address_of(std::uint64_t serial) {
  return {dvs::ContainerId{7}, dvs::EndpointId{serial}, dvs::Incarnation{serial + 1}};
}
GroupEntry message_entry(std::size_t payload_bytes) {
  return {GroupEntryKind::message, address_of(3), 9, {}, Bytes(payload_bytes, std::byte{0x5A})};
}
GroupEntry view_entry(std::size_t members) {
  GroupEntry entry{GroupEntryKind::view, {}, 4, {}, {}};
  for (std::uint64_t i = 1; i <= members; ++i)
    entry.members.push_back({address_of(i), i, i % 2 == 0});
  return entry;
}
std::vector<GroupMessage> samples() {
  const GroupEntry own{GroupEntryKind::own, address_of(3), 10, {}, {}};
  return {
      GroupReport{5, true, 17, 3},
      GroupReport{5, false, 0, 0},
      GroupFetch{5, 3, 9},
      GroupHeld{5, 4, {message_entry(10), message_entry(0)}},
      GroupOrdered{5, 4, 3, true, {view_entry(3), message_entry(10), own}},
      GroupSubmit{5, 4, 1, {Bytes(3), Bytes{}}},
      GroupAcknowledge{5, 4},
      GroupStable{5, 4},
      GroupResume{5},
  };
}

TEST(GroupMessage, ComesBackAsItWasSent) {
  for (const GroupMessage& sample : samples()) {
    const Bytes bytes = encode_group(sample);
    const auto decoded = decode_group(bytes);
    ASSERT_TRUE(decoded.has_value()) << sample.index() << dvs::to_string(decoded.error());
    EXPECT_EQ(decoded->index(), sample.index());
    EXPECT_EQ(view_of(*decoded), 5U);
    EXPECT_EQ(encode_group(*decoded), bytes);
  }
  const auto decoded = decode_group(encode_group(samples()[4])).value();
  const auto& ordered = std::get<GroupOrdered>(decoded);
  EXPECT_EQ(ordered.first, 4U);
  EXPECT_EQ(ordered.stable, 3U);
  EXPECT_TRUE(ordered.is_start);
  ASSERT_EQ(ordered.entries.size(), 3U);
  EXPECT_EQ(ordered.entries[0].members[1].address, address_of(2));
  EXPECT_TRUE(ordered.entries[0].members[1].is_joining);
  EXPECT_EQ(ordered.entries[1].payload, message_entry(10).payload);
}

TEST(GroupMessage, EveryTruncationAndEveryExtensionIsRefused) {
  for (const GroupMessage& sample : samples()) {
    Bytes bytes = encode_group(sample);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_EQ(decode_group(dvs::BytesView(bytes).first(size)).error(), Errc::protocol_violation);
    }
    bytes.push_back({});
    EXPECT_EQ(decode_group(bytes).error(), Errc::protocol_violation);
  }
}

TEST(GroupMessage, AnotherVersionIsNamedAsSuch) {
  Bytes bytes = encode_group(GroupStable{1, 1});
  bytes[0] = std::byte{2};
  EXPECT_EQ(decode_group(bytes).error(), Errc::version_mismatch);
}

TEST(GroupMessage, WhatIsOutOfRangeIsRefused) {
  const GroupEntry nameless{GroupEntryKind::message, {}, 1, {}, {}};
  const GroupEntry unknown{static_cast<GroupEntryKind>(9), address_of(1), 1, {}, {}};
  const GroupEntry fat_own{GroupEntryKind::own, address_of(1), 1, {}, Bytes(1)};
  const GroupEntry unnumbered{GroupEntryKind::message, address_of(1), 0, {}, {}};
  const std::vector<GroupMessage> bad = {
      GroupStable{0, 1},
      GroupStable{group_number_max, 1},
      GroupStable{1, group_number_max},
      GroupAcknowledge{1, ~std::uint64_t{0}},
      GroupReport{1, false, 1, 0},
      GroupReport{1, true, 0, 0},
      GroupFetch{1, 5, 5},
      GroupHeld{1, 1, {}},
      GroupHeld{1, 0, {message_entry(1)}},
      GroupHeld{1, 1, {nameless}},
      GroupHeld{1, 1, {unknown}},
      GroupHeld{1, 1, {fat_own}},
      GroupHeld{1, 1, {unnumbered}},
      GroupHeld{1, 1, {view_entry(0)}},
      GroupHeld{1, 1, {view_entry(group_members_max + 1)}},
      GroupHeld{1, 1, {message_entry(group_payload_bytes_max + 1)}},
      GroupSubmit{1, 0, 1, {}},
      GroupSubmit{1, 0, 0, {Bytes(1)}},
  };
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const auto decoded = decode_group(encode_group(bad[i]));
    ASSERT_FALSE(decoded.has_value()) << i;
    EXPECT_EQ(decoded.error(), Errc::protocol_violation) << i;
  }
}

TEST(GroupBatch, TakesTheLargestItemAndStopsBeforeTheLimit) {
  GroupBatch batch(GroupOrdered{5, 1, 0, false, {}});
  EXPECT_TRUE(batch.add(message_entry(group_payload_bytes_max), false));
  EXPECT_FALSE(batch.add(message_entry(group_payload_bytes_max), false));
  EXPECT_TRUE(batch.add(message_entry(group_payload_bytes_max), true)) << "goes without payload";
  std::uint32_t count = batch.size();
  while (batch.add(message_entry(20), false)) ++count;
  EXPECT_EQ(batch.size(), count);
  const Bytes bytes = std::move(batch).finish();
  EXPECT_LE(bytes.size(), group_message_bytes_max);
  const auto decoded = decode_group(bytes).value();
  const auto& ordered = std::get<GroupOrdered>(decoded);
  ASSERT_EQ(ordered.entries.size(), count);
  EXPECT_EQ(ordered.entries[0].payload.size(), group_payload_bytes_max);
  EXPECT_EQ(ordered.entries[1].kind, GroupEntryKind::own);

  GroupBatch views(GroupOrdered{5, 1, 0, false, {}});
  EXPECT_TRUE(views.add(view_entry(group_members_max), false));
  EXPECT_TRUE(decode_group(std::move(views).finish()).has_value());

  GroupBatch submits(GroupSubmit{5, 0, 1, {}});
  EXPECT_TRUE(submits.add(Bytes(group_payload_bytes_max)));
  EXPECT_FALSE(submits.add(Bytes(group_payload_bytes_max)));
  EXPECT_TRUE(submits.add(Bytes{}));
  EXPECT_TRUE(decode_group(std::move(submits).finish()).has_value());
}

}  // namespace
}  // namespace dvk::wire
