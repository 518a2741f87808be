// Copies under grants: every size and direction, every relation of the two sides, everything
// forbidden.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/pattern.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Access;
using dvk::Endpoint;
using dvk::Errc;
using dvk::GrantId;

constexpr std::uint64_t mib = 1024 * 1024;
constexpr std::uint64_t sizes[] = {0, 1, 4096, 64 * 1024, mib, 64 * mib};
constexpr uid_t stranger_uid = 12345;

// How the owner of the memory stands to the one who orders, who is on node 1.
struct Relation {
  const char* name;
  int node;
  uid_t uid;
};
constexpr Relation relations[] = {
    {"LocalTrusted", 1, 0}, {"LocalUntrusted", 1, stranger_uid}, {"Remote", 2, 0}};

class Copies : public testing::TestWithParam<Relation> {
 public:
  static void SetUpTestSuite() {
    if (reason_to_skip()) return;
    cluster = std::make_unique<Cluster>(ClusterOptions{.configuration = R"(
[[containers]]
id = 1
socket = "{run}/dvk.sock"
mode = "0666"
)"});
  }
  static void TearDownTestSuite() { cluster.reset(); }
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    self.emplace(cluster->open(1));
    owner.emplace(*cluster, GetParam().node, "owner-" + std::to_string(++owners), GetParam().uid);
  }

  // A grant of the owner's memory to this test's endpoint, or to the address given.
  GrantId grant(std::uint64_t from, std::uint64_t bytes, Access access,
                std::optional<dvk::Address> to = std::nullopt) {
    return GrantId{owner->ask_number("grant " + std::to_string(from) + " " + std::to_string(bytes) +
                                     " " + std::to_string(static_cast<int>(access)) + " " +
                                     words_of(to.value_or(self->address())))};
  }
  std::string allocate(std::uint64_t bytes, std::uint64_t seed) {
    return owner->ask("allocate " + std::to_string(bytes) + " " + std::to_string(seed));
  }
  // "ok" if the owner's memory has the pattern.
  std::string check(std::uint64_t seed, std::uint64_t from, std::uint64_t bytes) {
    return owner->ask("check " + std::to_string(seed) + " " + std::to_string(from) + " " +
                      std::to_string(bytes));
  }
  Errc read(GrantId from, std::uint64_t offset, std::uint64_t bytes) {
    dvk::Bytes target(bytes);
    const auto done = self->copy_from({owner->address(), from, offset}, target, patience);
    return done ? Errc{} : done.error().code;
  }
  Errc write(GrantId to, std::uint64_t offset, std::uint64_t bytes) {
    const dvk::Bytes source(bytes);
    const auto done = self->copy_to(source, {owner->address(), to, offset}, patience);
    return done ? Errc{} : done.error().code;
  }

  static inline std::unique_ptr<Cluster> cluster;
  static inline int owners = 0;
  std::optional<Endpoint> self;
  std::optional<Peer> owner;
};
INSTANTIATE_TEST_SUITE_P(, Copies, testing::ValuesIn(relations),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Copies, OfEverySizeAreWholeInBothDirections) {
  for (const std::uint64_t size : sizes) {
    SCOPED_TRACE(size);
    // A margin on both sides, which must not change.
    ASSERT_EQ(allocate(size + 200, 1), "ok");
    const GrantId given = grant(100, size, Access::read_write);
    const dvk::Remote there{owner->address(), given, 0};
    const dvk::Bytes whole = make_pattern(size + 200, 1);
    dvk::Bytes read_back(size);
    must(self->copy_from(there, read_back, patience), "copy_from");
    EXPECT_TRUE(std::ranges::equal(read_back, std::span(whole).subspan(100, size)));

    must(self->copy_to(make_pattern(size, 2), there, patience), "copy_to");
    EXPECT_EQ(check(2, 100, size), "ok");
    EXPECT_EQ(check(1, 0, 96), "ok");
    ASSERT_EQ(allocate(0, 0), "ok");  // frees; the grant's memory is no more
  }
}

TEST_P(Copies, WriteExactlyTheirRange) {
  ASSERT_EQ(allocate(3 * 4096, 1), "ok");
  const GrantId given = grant(4096, 4096, Access::write);
  must(self->copy_to(make_pattern(1000, 7), {owner->address(), given, 96}, patience), "copy_to");
  EXPECT_EQ(check(1, 0, 4096), "ok");
  EXPECT_EQ(check(7, 4096 + 96, 1000), "ok");
  // What follows is still the pattern of the whole: read it and compare.
  const GrantId readable = grant(0, 3 * 4096, Access::read);
  dvk::Bytes all(3 * 4096);
  must(self->copy_from({owner->address(), readable, 0}, all, patience), "copy_from");
  EXPECT_TRUE(has_pattern(std::span(all).subspan(0, 4096 + 96), 1));
  EXPECT_TRUE(has_pattern(std::span(all).subspan(4096 + 96, 1000), 7));
  EXPECT_TRUE(has_pattern(std::span(all).subspan(4096 + 96 + 1000), 1, 4096 + 96 + 1000));
}

TEST_P(Copies, AThirdPartyOrders) {
  for (const Relation& second : relations) {
    SCOPED_TRACE(second.name);
    Peer other(*cluster, second.node, "other-" + std::to_string(++owners), second.uid);
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, 3 * mib + 5}) {
      const std::string bytes = std::to_string(size);
      ASSERT_EQ(allocate(size, 3), "ok");
      ASSERT_EQ(other.ask("allocate " + bytes + " 4"), "ok");
      const GrantId source = grant(0, size, Access::read);
      const GrantId target{
          other.ask_number("grant 0 " + bytes + " 2 " + words_of(self->address()))};
      must(self->copy({owner->address(), source, 0}, {other.address(), target, 0}, size, patience),
           "copy");
      EXPECT_EQ(other.ask("check 3 0 " + bytes), "ok");
      EXPECT_EQ(check(3, 0, size), "ok");
    }
  }
}

TEST_P(Copies, GrantsAreEnforced) {
  ASSERT_EQ(allocate(10'000, 1), "ok");
  const GrantId readable = grant(1000, 1000, Access::read);
  const GrantId writable = grant(1000, 1000, Access::write);
  Endpoint other = cluster->open(1);
  const GrantId of_another = grant(1000, 1000, Access::read_write, other.address());
  const GrantId of_all = grant(1000, 1000, Access::read_write, dvk::Address{});

  EXPECT_EQ(read(readable, 0, 1000), Errc{});
  EXPECT_EQ(read(readable, 999, 1), Errc{});
  EXPECT_EQ(read(of_all, 0, 1000), Errc{});
  // Direction.
  EXPECT_EQ(read(writable, 0, 10), Errc::grant_denied);
  EXPECT_EQ(write(readable, 0, 10), Errc::grant_denied);
  // Grantee.
  EXPECT_EQ(read(of_another, 0, 10), Errc::grant_denied);
  EXPECT_EQ(write(of_another, 0, 10), Errc::grant_denied);
  // Range.
  EXPECT_EQ(read(readable, 0, 1001), Errc::grant_denied);
  EXPECT_EQ(read(readable, 1000, 1), Errc::grant_denied);
  EXPECT_EQ(read(readable, ~std::uint64_t{0}, 2), Errc::grant_denied);
  EXPECT_EQ(write(writable, 1, 1000), Errc::grant_denied);
  // Existence.
  EXPECT_EQ(read(GrantId{0}, 0, 1), Errc::grant_denied);
  EXPECT_EQ(read(GrantId{987654}, 0, 1), Errc::grant_denied);
  EXPECT_EQ(check(1, 0, 10'000), "ok");
}

TEST_P(Copies, ARevokedGrantIsNone) {
  ASSERT_EQ(allocate(2 * mib, 1), "ok");
  const GrantId given = grant(0, 2 * mib, Access::read_write);
  EXPECT_EQ(read(given, 0, 2 * mib), Errc{});
  const std::string revoke = "revoke " + std::to_string(dvs::raw(given));
  EXPECT_EQ(owner->ask(revoke), "ok");
  EXPECT_EQ(read(given, 0, 2 * mib), Errc::grant_revoked);
  EXPECT_EQ(write(given, 0, 1), Errc::grant_revoked);
  EXPECT_EQ(owner->ask(revoke), "grant_revoked");
  EXPECT_EQ(owner->ask("revoke 99999"), "grant_denied");
  EXPECT_EQ(check(1, 0, 2 * mib), "ok");
}

TEST_P(Copies, MemoryThatIsNotThereIsABadAddress) {
  const GrantId nothing{owner->ask_number("grant_nothing 1048576 3 " + words_of(self->address()))};
  EXPECT_EQ(read(nothing, 0, 4096), Errc::bad_address);
  EXPECT_EQ(write(nothing, 0, 4096), Errc::bad_address);
  EXPECT_EQ(read(nothing, 0, mib), Errc::bad_address);
  // On the other side: this test's own memory.
  ASSERT_EQ(allocate(4096, 1), "ok");
  const GrantId given = grant(0, 4096, Access::read_write);
  const std::span<std::byte> invalid(reinterpret_cast<std::byte*>(8), 4096);
  const dvk::Remote there{owner->address(), given, 0};
  EXPECT_EQ(self->copy_from(there, invalid, patience).error(), Errc::bad_address);
  EXPECT_EQ(self->copy_to(invalid, there, patience).error(), Errc::bad_address);
  EXPECT_EQ(read(given, 0, 4096), Errc{});
}

TEST_P(Copies, ManyAreUnderWayAtOnce) {
  constexpr std::uint64_t count = 1000;
  constexpr std::uint64_t piece = 4096;
  ASSERT_EQ(allocate(count * piece, 1), "ok");
  const GrantId given = grant(0, count * piece, Access::read_write);
  dvk::Bytes target(count * piece);
  std::vector<dvk::CopyId> copies;
  for (std::uint64_t i = 0; i < count; ++i) {
    copies.push_back(must(self->start_copy_from({owner->address(), given, i * piece},
                                                std::span(target).subspan(i * piece, piece)),
                          "start_copy_from"));
  }
  for (const dvk::CopyId copy : copies) must(self->finish_copy(copy, patience), "finish_copy");
  EXPECT_TRUE(has_pattern(target, 1));
  const dvk::Bytes source = make_pattern(count * piece, 2);
  copies.clear();
  for (std::uint64_t i = 0; i < count; ++i) {
    copies.push_back(must(self->start_copy_to(std::span(source).subspan(i * piece, piece),
                                              {owner->address(), given, i * piece}),
                          "start_copy_to"));
  }
  for (const dvk::CopyId copy : copies) must(self->finish_copy(copy, patience), "finish_copy");
  EXPECT_EQ(check(2, 0, count * piece), "ok");
  EXPECT_EQ(self->finish_copy(copies[0], patience).error(), Errc::invalid_argument);
}

TEST_P(Copies, EndWithTheirOwner) {
  constexpr std::uint64_t size = 256 * mib;
  ASSERT_EQ(allocate(size, 1), "ok");
  const GrantId given = grant(0, size, Access::read);
  dvk::Bytes target(size);
  LoadThreads threads;
  threads.start("killer", [&] {
    std::this_thread::sleep_for(30ms);
    owner->process().signal(SIGKILL);
  });
  // Again and again, so that some copy is under way when the owner dies.
  dvk::Result<void> done;
  while ((done = self->copy_from({owner->address(), given, 0}, target, 60s))) {
  }
  EXPECT_TRUE(done.error() == Errc::peer_died || done.error() == Errc::unknown_endpoint)
      << to_string(done.error());
  EXPECT_EQ(read(given, 0, 1), Errc::peer_died);
}

TEST_P(Copies, CallsKeepAnsweringDuringALargeOne) {
  constexpr std::uint64_t size = 1024 * mib;
  ASSERT_EQ(allocate(size, 1), "ok");
  const GrantId given = grant(0, size, Access::read);
  Peer echo(*cluster, GetParam().node, "echo-" + std::to_string(++owners), GetParam().uid);
  std::atomic<bool> is_copied = false;
  LoadThreads threads;
  threads.start("copier", [&] {
    dvk::Bytes target(size);
    must(self->copy_from({owner->address(), given, 0}, target, 120s), "copy_from");
    is_copied = true;
  });
  Endpoint caller = cluster->open(1);
  std::vector<double> latencies;  // milliseconds
  while (!is_copied && !threads.has_failed()) {
    const auto start = std::chrono::steady_clock::now();
    must(caller.call(echo.address(), dvk::as_bytes("lookup nobody"), patience), "call");
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    latencies.push_back(taken.count());
    std::this_thread::sleep_for(2ms);
  }
  threads.join();
  ASSERT_FALSE(latencies.empty());
  std::ranges::sort(latencies);
  std::printf("calls during a copy of 1 GiB: %zu, median %.2f ms, slowest %.2f ms\n",
              latencies.size(), latencies[latencies.size() / 2], latencies.back());
  EXPECT_GT(latencies.size(), 2U);
}

}  // namespace
}  // namespace integration
