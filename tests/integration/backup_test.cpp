// Backups that take over, and what callers see of it.
#include <gtest/gtest.h>

#include "integration/cluster.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::Incoming;

class Backups : public testing::TestWithParam<int> {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace();
  }
  std::optional<Cluster> cluster;
};
INSTANTIATE_TEST_SUITE_P(, Backups, testing::Values(1, 2), [](const auto& test) {
  return test.param == 1 ? "OnOneNode" : "AcrossNodes";
});

TEST_P(Backups, TakeOverWhenThePrimaryIsKilled) {
  Child primary = Peer::start(cluster->socket(1), {"echo", "service"});
  Endpoint caller = cluster->open(2);
  const dvk::Address first = await_name(caller, "service");
  Endpoint backup = must(Endpoint::open(
      {.socket = cluster->socket(GetParam()), .name = "service", .is_backup = true}));
  // While the primary lives the name is its own, and the backup can be talked to under its address.
  EXPECT_EQ(must(caller.lookup("service")), first);
  must(caller.send(backup.address(), dvk::as_bytes("news"), patience));
  EXPECT_EQ(must(backup.receive(patience)).text(), "news");
  EXPECT_EQ(backup.receive(50ms).error(), Errc::deadline);
  must(caller.send(backup.address(), dvk::as_bytes("not taken before"), patience));
  must(caller.call(first, {}, patience), "call");

  primary.signal(SIGSTOP);
  const auto call = must(caller.start_call(first, dvk::as_bytes("lost")));
  primary.kill();
  EXPECT_EQ(caller.finish_call(call, patience).error(), Errc::peer_died);
  // What lay in the backup's mailbox is still there, before the news.
  EXPECT_EQ(must(backup.receive(patience)).text(), "not taken before");
  const Incoming promoted = must(backup.receive(patience), "receive");
  EXPECT_EQ(promoted.kind, Incoming::Kind::promoted);

  dvk::Result<dvk::Address> second = caller.lookup("service");
  while (!second || *second == first) second = caller.lookup("service");
  EXPECT_EQ(*second, backup.address());
  EXPECT_EQ(second->id, first.id) << "the same service";
  EXPECT_NE(second->incarnation, first.incarnation) << "in another life";
  introduce(caller, backup);
  const auto again = must(caller.start_call(*second, dvk::as_bytes("again")));
  const auto request = must(backup.receive_request(patience));
  must(backup.reply(request, dvk::as_bytes("here")));
  EXPECT_EQ(dvk::as_text(must(caller.finish_call(again, patience))), "here");
  EXPECT_EQ(caller.call(first, {}, patience).error(), Errc::peer_died);
}

TEST_P(Backups, OneTakesOverAfterTheOther) {
  Endpoint caller = cluster->open(1);
  Child primary = Peer::start(cluster->socket(1), {"echo", "service"});
  dvk::Address current = await_name(caller, "service");
  std::vector<Child> backups;
  for (int i = 0; i < 4; ++i) {
    backups.push_back(
        Peer::start(cluster->socket(i % 2 == 0 ? GetParam() : 1), {"backup", "service"}));
  }
  // A backup is known only once it is promoted, so give them time to be registered: a name that
  // does not exist is asked for behind them on the same sockets.
  std::this_thread::sleep_for(500ms);
  primary.kill();
  for (int life = 0; life < 4; ++life) {
    const auto end = std::chrono::steady_clock::now() + patience;
    dvk::Result<dvk::Address> found = caller.lookup("service");
    while ((!found || *found == current) && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(5ms);
      found = caller.lookup("service");
    }
    ASSERT_TRUE(found) << "life " << life;
    current = *found;
    EXPECT_EQ(dvk::as_text(must(caller.call(current, {}, patience), "call")), "promoted");
    // Which process it is nobody is told; ask it to die by the only one that is not a backup any
    // more.
    for (Child& backup : backups) backup.signal(SIGSTOP);
    const auto probe = must(caller.start_call(current, {}));
    for (std::size_t i = 0; i < backups.size(); ++i) {
      backups[i].signal(SIGCONT);
      if (caller.finish_call(probe, 300ms)) {
        backups.erase(backups.begin() + static_cast<std::ptrdiff_t>(i));  // kills it
        break;
      }
    }
    for (Child& backup : backups) backup.signal(SIGCONT);
  }
  EXPECT_TRUE(backups.empty());
  dvk::Result<dvk::Address> last = caller.lookup("service");
  while (last && *last == current) last = caller.lookup("service");
  EXPECT_EQ(last.error(), Errc::unknown_endpoint);
}

TEST_P(Backups, ThatFindNoPrimaryAreItAtOnce) {
  Endpoint backup = must(
      Endpoint::open({.socket = cluster->socket(GetParam()), .name = "vacant", .is_backup = true}));
  EXPECT_EQ(must(backup.receive(patience), "receive").kind, Incoming::Kind::promoted);
  Endpoint caller = cluster->open(1);
  EXPECT_EQ(must(caller.lookup("vacant")), backup.address());
}

TEST_P(Backups, NeedANameAndCannotMove) {
  EXPECT_EQ(Endpoint::open({.socket = cluster->socket(GetParam()), .is_backup = true}).error(),
            Errc::invalid_argument);
  Endpoint primary = cluster->open(1, "service");
  Endpoint backup = must(Endpoint::open(
      {.socket = cluster->socket(GetParam()), .name = "service", .is_backup = true}));
  const dvk::NodeId other{static_cast<std::uint16_t>(3 - GetParam())};
  EXPECT_EQ(backup.move_to(other, {}, 5s).error(), Errc::invalid_argument);
  introduce(primary, backup);
}

}  // namespace
}  // namespace integration
