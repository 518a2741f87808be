// The messages between daemons.
#include "dvk/wire/node_message.hpp"

#include <gtest/gtest.h>

#include "dvk/wire/test_fields.hpp"

namespace dvk::wire {
namespace {

TEST(NodeMessage, EveryKindComesBackAndNothingElseDecodes) {
  check_all_messages<NodeMessage>();
}

TEST(NodeMessage, PartsListAllTheirMembers) {
  expect_all_members_listed<DirectoryEntry>();
  expect_all_members_listed<CopySide>();
}

TEST(NodeMessage, TheFormComesFirst) {
  const Bytes bytes = encode_node_message(MoveQuery{.move = 5});
  ASSERT_GE(bytes.size(), 2U);
  EXPECT_EQ(bytes[0], static_cast<std::byte>(NodeMessageForm::control));
  const auto decoded = decode_variant<NodeMessage>(BytesView(bytes).subspan(1));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<MoveQuery>(*decoded).move, 5U);
}

TEST(NodeMessage, AReportOfManyEntriesComesBack) {
  Report report{.view = 3, .is_first = true, .is_last = false};
  for (unsigned i = 0; i < 1000; ++i) {
    report.entries.push_back({{dvs::ContainerId{1}, dvs::EndpointId{i}, dvs::Incarnation{i}},
                              std::string(i % 256, 'n'),
                              i % 2 == 0});
  }
  const auto decoded = decode_variant<NodeMessage>(encode_variant(NodeMessage(report)));
  ASSERT_TRUE(decoded.has_value());
  const auto& entries = std::get<Report>(*decoded).entries;
  ASSERT_EQ(entries.size(), 1000U);
  EXPECT_EQ(entries[999].name.size(), 999U % 256);
  EXPECT_TRUE(entries[998].is_backup);
}

TEST(NodeMessage, PiecesOfCopiesFollowEachOther) {
  Bytes body;
  const auto add = [&](std::uint64_t copy, std::uint32_t announced, std::size_t bytes) {
    const CopyDataHead head{.copy = copy, .bytes = announced};
    const BytesView view(reinterpret_cast<const std::byte*>(&head), sizeof head);
    body.insert(body.end(), view.begin(), view.end());
    body.insert(body.end(), bytes, static_cast<std::byte>(copy));
  };
  const auto is_refused = [&] {
    const auto decoded = decode_copy_data(body);
    return !decoded && decoded.error() == Errc::protocol_violation;
  };
  EXPECT_TRUE(is_refused());
  add(1, 5, 5);
  add(2, 0, 0);
  add(3, 7, 7);
  const auto pieces = decode_copy_data(body);
  ASSERT_TRUE(pieces.has_value());
  ASSERT_EQ(pieces->size(), 3U);
  EXPECT_EQ((*pieces)[1].head.copy, 2U);
  EXPECT_TRUE((*pieces)[1].bytes.empty());
  EXPECT_EQ(dvs::to_bytes((*pieces)[2].bytes), Bytes(7, std::byte{3}));
  body.push_back({});
  EXPECT_TRUE(is_refused());
  body.pop_back();
  add(4, 9, 8);
  EXPECT_TRUE(is_refused());
}

TEST(NodeMessage, AMovePieceMayBeLarge) {
  const MovePrepare prepare{.move = 1, .total_bytes = 192 * 1024, .piece = Bytes(192 * 1024)};
  const auto decoded = decode_variant<NodeMessage>(encode_variant(NodeMessage(prepare)));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(std::get<MovePrepare>(*decoded).piece.size(), 192U * 1024);
}

}  // namespace
}  // namespace dvk::wire
