// Settings: conditions, transactions, ranges and bounds.
#include "cluster/state/settings.hpp"

#include <gtest/gtest.h>

#include "cluster/state/test_state.hpp"

namespace dvs::cluster {
namespace {

TEST(Settings, PutTakesEffectOnlyAtTheExpectedRevision) {
  TestState test;
  const Answer first = test(Put{"a", value_of("1"), {true, 0}});
  EXPECT_TRUE(first.is_done());
  EXPECT_EQ(first.number, test.index);
  const Answer again = test(Put{"a", value_of("2"), {true, 0}});
  EXPECT_EQ(again.code, Errc::conflict);
  EXPECT_EQ(again.number, first.number);
  EXPECT_TRUE(test(Put{"a", value_of("3"), {true, first.number}}).is_done());
  EXPECT_EQ(*test.state.settings().find("a"), value_of("3"));
  EXPECT_EQ(test(Put{"b", {}, {true, 5}}).code, Errc::conflict);
}

TEST(Settings, DeleteSaysWhatWasThere) {
  TestState test;
  const std::uint64_t revision = test(Put{"a", {}, {}}).number;
  EXPECT_EQ(test(Delete{"a", {true, revision + 1}}).code, Errc::conflict);
  EXPECT_EQ(test(Delete{"a", {true, revision}}).number, revision);
  EXPECT_EQ(test(Delete{"a", {}}).number, 0u);
  EXPECT_EQ(test.state.settings().find("a"), nullptr);
  EXPECT_EQ(test.state.settings().bytes(), 0u);
}

TEST(Settings, TransactionIsAllOrNothing) {
  TestState test;
  const std::uint64_t a = test(Put{"a", value_of("1"), {}}).number;
  const std::uint64_t before = test.index;
  const Answer refused =
      test(Transaction{{{"a", a}, {"b", 3}}, {{"a", false, {}}, {"c", true, value_of("2")}}});
  EXPECT_EQ(refused.code, Errc::conflict);
  EXPECT_EQ(refused.part, 1u);
  EXPECT_EQ(refused.number, 0u);
  EXPECT_TRUE(test.events_after(before).empty());
  const Answer done =
      test(Transaction{{{"a", a}, {"b", 0}}, {{"a", false, {}}, {"c", true, value_of("2")}}});
  EXPECT_TRUE(done.is_done());
  EXPECT_EQ(test.state.settings().revision_of("c"), done.number);
  EXPECT_EQ(test.state.settings().find("a"), nullptr);
  EXPECT_EQ(test.events_after(before).size(), 2u);
}

TEST(Settings, TransactionsOutsideTheirBoundsAreRefused) {
  TestState test;
  EXPECT_EQ(test(Transaction{{}, {{"a", true, {}}, {"a", false, {}}}}).code,
            Errc::invalid_argument);
  EXPECT_EQ(test(Transaction{{}, {{"a", false, value_of("x")}}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(Transaction{{{"/", 0}}, {}}).code, Errc::invalid_argument);
  Transaction many;
  for (std::size_t i = 0; i <= transaction_parts_max; ++i) {
    many.operations.push_back({"k" + std::to_string(i), false, {}});
  }
  EXPECT_EQ(test(many).code, Errc::invalid_argument);
}

TEST(Settings, KeysValuesAndTheSumAreBounded) {
  Limits limits;
  limits.settings_bytes = 1000;
  TestState test(limits);
  EXPECT_EQ(test(Put{"a//b", {}, {}}).code, Errc::invalid_argument);
  EXPECT_EQ(test(Put{"a", Bytes(value_bytes_max + 1), {}}).code, Errc::invalid_argument);
  EXPECT_TRUE(test(Put{"a", Bytes(800), {}}).is_done());
  EXPECT_EQ(test(Put{"b", Bytes(800), {}}).code, Errc::limit_reached);
  EXPECT_EQ(test(Transaction{{}, {{"b", true, Bytes(10)}, {"c", true, Bytes(10)}}}).code,
            Errc::limit_reached);
  // What takes the place of something larger has room.
  EXPECT_TRUE(test(Put{"a", Bytes(900), {}}).is_done());
  EXPECT_TRUE(test(Transaction{{}, {{"a", false, {}}, {"b", true, Bytes(900)}}}).is_done());
  EXPECT_EQ(test.state.settings().bytes(), 1 + 900 + setting_overhead_bytes);
}

TEST(Settings, RangesGoByPrefixAndPage) {
  TestState test;
  for (const char* key : {"a", "c/1", "c/2", "c/3", "c0", "d"}) test(Put{key, {}, {}});
  const Settings& settings = test.state.settings();
  const SettingPage first = settings.range("c/", "", 2);
  ASSERT_EQ(first.settings.size(), 2u);
  EXPECT_FALSE(first.is_complete);
  EXPECT_EQ(first.settings[1].key, "c/2");
  const SettingPage rest = settings.range("c/", first.settings.back().key, 2);
  ASSERT_EQ(rest.settings.size(), 1u);
  EXPECT_TRUE(rest.is_complete);
  EXPECT_EQ(settings.range("", "", 100).settings.size(), 6u);
  EXPECT_TRUE(settings.range("e", "", 100).settings.empty());
}

}  // namespace
}  // namespace dvs::cluster
