// Encoding of proposals, what is refused unread, and the form of names.
#include "cluster/state/command.hpp"

#include <gtest/gtest.h>

#include "cluster/state/path_name.hpp"
#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

TEST(ClusterCommand, EveryCommandComesBackAsItWas) {
  const std::vector<Command> commands{
      OpenSession{},
      Put{"a/b", value_of("v"), {true, 7}},
      Delete{"a", {}},
      Transaction{{{"a", 1}}, {{"b", true, value_of("x")}, {"c", false, {}}}},
      Join{"n1", "h:1", value_of("print"), BootId{5}, NodeRole::voter, 1},
      Leave{node_of(3)},
      Announce{node_of(3), BootId{2}, BootId{1}, "h:2", 1},
      SetRole{node_of(1), NodeRole::client},
      SetDrained{node_of(1), true},
      SetLabels{node_of(1), {{"rack", "7"}}},
      ProposeView{4, {node_of(1), node_of(2)}},
      DeclareLost{node_of(2), BootId{9}},
      Claim{"files/9", node_of(1), 4},
      Release{"files/9", node_of(1), 5},
      HandOver{"files/9", node_of(1), node_of(2), 5},
      Forget{"files/9", 5}};
  ASSERT_EQ(commands.size(), std::variant_size_v<Command>);
  for (const Command& command : commands) {
    const Bytes bytes = encode_proposal({ClientId{3}, 8, command});
    const auto decoded = decode_proposal(bytes);
    ASSERT_TRUE(decoded.has_value()) << command.index();
    EXPECT_EQ(decoded->client, ClientId{3});
    EXPECT_EQ(decoded->sequence, 8u);
    EXPECT_EQ(decoded->command.index(), command.index());
    EXPECT_EQ(encode_proposal(*decoded), bytes);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      EXPECT_FALSE(decode_proposal(BytesView(bytes).first(cut)).has_value());
    }
  }
}

TEST(ClusterCommand, WhatCannotBeReadIsRefusedAndChangesNothing) {
  TestState test;
  test(Put{"a", value_of("1"), {}});
  Bytes newer = encode_proposal({test.client, 9, Put{"a", value_of("2"), {}}});
  newer[0] = std::byte{command_version + 1};
  Bytes unknown = encode_proposal({test.client, 9, OpenSession{}});
  unknown.back() = std::byte{std::variant_size_v<Command>};
  const Bytes large(proposal_bytes_max + 1, std::byte{command_version});
  EXPECT_EQ(test.state.apply(++test.index, newer).code, Errc::version_mismatch);
  EXPECT_EQ(test.state.apply(++test.index, unknown).code, Errc::protocol_violation);
  EXPECT_EQ(test.state.apply(++test.index, large).code, Errc::message_too_large);
  EXPECT_EQ(test.state.apply(++test.index, {}).code, Errc::protocol_violation);
  EXPECT_EQ(*test.state.settings().find("a"), value_of("1"));
  EXPECT_EQ(test.state.applied(), test.index);
  EXPECT_EQ(test.events_after(0).size(), 1u);
}

TEST(ClusterCommand, WithoutASessionOnlyWhatIsConditionalByNature) {
  TestState test;
  EXPECT_EQ(test.apply({ClientId{}, 0, Put{"a", {}, {}}}).code, Errc::invalid_argument);
  EXPECT_EQ(test.apply({ClientId{}, 0, Join{"n", "h", {}, BootId{1}}}).code,
            Errc::invalid_argument);
  EXPECT_TRUE(test.apply({ClientId{}, 0, ProposeView{0, {}}}).is_done());
}

TEST(PathName, IsPrintableUtf8InSegments) {
  for (const char* good : {"a", "containers/9/memory", "\xC3\xBC/\xF0\x9F\x90\xA7", "a.b/..c"}) {
    EXPECT_TRUE(is_path_name(good)) << good;
  }
  for (const char* bad :
       {"", "/a", "a/", "a//b", "a/./b", "..", "a\n", "\x7F", "\xC2\x80", "\xC0\xAF",
        "\xED\xA0\x80", "\xE0\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "a\xFF"}) {
    EXPECT_FALSE(is_path_name(bad)) << bad;
  }
  EXPECT_TRUE(is_path_name(std::string(key_bytes_max, 'k')));
  EXPECT_FALSE(is_path_name(std::string(key_bytes_max + 1, 'k')));
  EXPECT_FALSE(is_path_name(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace dvs::cluster
