// The messages between a process and its daemon.
#include "dvk/wire/attach_message.hpp"

#include <gtest/gtest.h>

#include "dvk/wire/test_fields.hpp"

namespace dvk::wire {
namespace {

TEST(AttachMessage, EveryKindToTheDaemonComesBackAndNothingElseDecodes) {
  check_all_messages<ToDaemon>();
}

TEST(AttachMessage, EveryKindToTheProcessComesBackAndNothingElseDecodes) {
  check_all_messages<ToProcess>();
}

TEST(AttachMessage, HelloSaysItsVersionFirst) {
  const Bytes bytes = encode_variant(ToDaemon(Hello{}));
  ASSERT_GE(bytes.size(), 5U);
  EXPECT_EQ(bytes[0], std::byte{0});
  EXPECT_EQ(bytes[1], std::byte{attach_version});
}

TEST(AttachMessage, CopyOrdersAndOutcomesAreUsedUpExactly) {
  expect_all_members_listed<CopyOrder>();
  expect_all_members_listed<CopyOutcome>();
  CopyOrder order;
  FieldFiller filler;
  order.fields(filler);
  Bytes bytes = encode_fields(order);
  const auto decoded = decode_fields<CopyOrder>(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(encode_fields(*decoded), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = decode_fields<CopyOrder>(BytesView(bytes).first(size));
    ASSERT_FALSE(cut.has_value()) << size;
    EXPECT_EQ(cut.error().code, Errc::protocol_violation);
  }
  bytes.push_back({});
  EXPECT_FALSE(decode_fields<CopyOrder>(bytes).has_value());
  EXPECT_EQ(decode_fields<CopyOutcome>(encode_fields(CopyOutcome{Errc::grant_revoked}))->error,
            Errc::grant_revoked);
}

}  // namespace
}  // namespace dvk::wire
