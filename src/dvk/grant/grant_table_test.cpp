#include "dvk/grant/grant_table.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

namespace dvk::grant {
namespace {

using dvs::ContainerId;
using dvs::EndpointId;
using dvs::Incarnation;

constexpr Address alice{ContainerId{1}, EndpointId{7}, Incarnation{8}};
constexpr Address bob{ContainerId{1}, EndpointId{9}, Incarnation{10}};

struct GrantTableTest : testing::Test {
  GrantTable table = GrantTable::create().value();
  GrantView view = GrantView::attach(table.page_fd()).value();

  Errc error_of(std::uint64_t grant, const Address& who, std::uint64_t offset, std::uint64_t bytes,
                Access access) {
    const auto result = view.check(grant, who, offset, bytes, access);
    return result ? Errc{} : result.error().code;
  }
};

TEST_F(GrantTableTest, AllowsExactlyWhatWasGranted) {
  const std::uint64_t grant = table.give(0x1000, 100, Access::read, alice).value();
  EXPECT_EQ(view.check(grant, alice, 10, 90, Access::read).value(), 0x100aU);
  EXPECT_EQ(view.check(grant, alice, 100, 0, Access::read).value(), 0x1064U);
  EXPECT_EQ(error_of(grant, alice, 10, 91, Access::read), Errc::grant_denied);
  EXPECT_EQ(error_of(grant, alice, 101, 0, Access::read), Errc::grant_denied);
  EXPECT_EQ(error_of(grant, alice, ~0ULL, 2, Access::read), Errc::grant_denied);
  EXPECT_EQ(error_of(grant, alice, 0, 1, Access::write), Errc::grant_denied);
  EXPECT_EQ(error_of(grant, bob, 0, 1, Access::read), Errc::grant_denied);
  EXPECT_EQ(error_of(grant + 1, alice, 0, 1, Access::read), Errc::grant_denied);
  EXPECT_EQ(error_of(0, alice, 0, 1, Access::read), Errc::grant_denied);
}

TEST_F(GrantTableTest, AGrantToNobodyInParticularIsForAll) {
  const std::uint64_t grant = table.give(0x1000, 8, Access::read_write, {}).value();
  EXPECT_TRUE(view.check(grant, alice, 0, 8, Access::write));
  EXPECT_TRUE(view.check(grant, bob, 0, 8, Access::read));
}

TEST_F(GrantTableTest, RevokedNumbersStayRevokedWhenTheSlotIsUsedAgain) {
  const std::uint64_t first = table.give(0x1000, 8, Access::read, alice).value();
  ASSERT_TRUE(table.revoke(first));
  EXPECT_EQ(error_of(first, alice, 0, 8, Access::read), Errc::grant_revoked);
  EXPECT_EQ(table.revoke(first).error().code, Errc::grant_revoked);
  for (std::size_t i = 0; i < grants_max + 1; ++i) {
    ASSERT_TRUE(table.give(0x2000, 8, Access::read, alice)) << i;
  }
  EXPECT_EQ(table.give(0x2000, 8, Access::read, alice).error().code, Errc::queue_full);
  EXPECT_EQ(error_of(first, alice, 0, 8, Access::read), Errc::grant_revoked);
}

TEST_F(GrantTableTest, ReadersNeverSeeHalfAChange) {
  std::atomic<bool> is_done = false;
  std::thread owner([&] {
    for (std::uint64_t i = 1; i <= 20000; ++i) {
      const auto grant = table.give(i << 12, i, Access::read, alice);
      if (grant) (void)table.revoke(*grant);
    }
    is_done = true;
  });
  std::uint64_t seen = 0;
  while (!is_done) {
    for (std::uint64_t grant = 1024; grant < 3 * 1024; ++grant) {
      const auto address = view.check(grant, alice, 0, 1, Access::read);
      if (!address) continue;
      ++seen;
      ASSERT_EQ(*address & 0xfff, 0U);
    }
  }
  owner.join();
  SUCCEED() << seen;
}

}  // namespace
}  // namespace dvk::grant
