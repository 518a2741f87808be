// Nodes that agree on who is a member: views, losses, freezing, and what the dvk makes of them.
#include <algorithm>
#include <regex>

#include <gtest/gtest.h>

#include "integration/cluster.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::Incoming;

class Consensus : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    begin(3);
    ASSERT_TRUE(await_status({1, 2, 3}, R"("voters":\[1,2,3\])")) << status(1);
    ASSERT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(1);
  }

 protected:
  void begin(int nodes) { cluster.emplace(ClusterOptions{.nodes = nodes, .is_agreed = true}); }
  std::string status(int node) const { return cluster->control(node, "status"); }
  // What the dvk goes by.
  static std::string members(const std::string& list) {
    return R"("view":\{"number":[0-9]+,"members":\[)" + list + R"(\]\},"membership")";
  }
  static std::string agreed_members(const std::string& list) {
    return R"("term".*"view":\{"number":[0-9]+,"members":\[)" + list + R"(\]\},"lost")";
  }
  // Until the status of each of these nodes has this in it.
  bool await_status(const std::vector<int>& nodes, const std::string& pattern) const {
    const std::regex wanted(pattern);
    const auto end = std::chrono::steady_clock::now() + patience;
    for (const int node : nodes) {
      while (!std::regex_search(status(node), wanted)) {
        if (std::chrono::steady_clock::now() >= end) return false;
        std::this_thread::sleep_for(10ms);
      }
    }
    return true;
  }
  int leader() {
    for (;;) {
      for (int node = 1; node <= cluster->size(); ++node) {
        if (!cluster->daemon(node).is_running()) continue;
        if (status(node).find(R"("position":"leader")") != std::string::npos) return node;
      }
      std::this_thread::sleep_for(10ms);
    }
  }
  std::vector<int> all_but(int node) const {
    std::vector<int> others{1, 2, 3};
    std::erase(others, node);
    return others;
  }
  void unplug(int node, bool is_plugged = false) {
    for (const int other : all_but(node)) cluster->network().set_cable(node, other, is_plugged);
  }
  static std::string list(const std::vector<int>& nodes) {
    return std::to_string(nodes[0]) + "," + std::to_string(nodes[1]);
  }

  std::optional<Cluster> cluster;
};

TEST_F(Consensus, AKilledLeaderIsReplacedAndLostAndComesBack) {
  const int killed = leader();
  cluster->kill_daemon(killed);
  const auto others = all_but(killed);
  EXPECT_TRUE(await_status(others, agreed_members(list(others)))) << status(others[0]);
  EXPECT_NE(leader(), killed);
  cluster->start_daemon(killed);
  EXPECT_TRUE(await_status({1, 2, 3}, agreed_members("1,2,3"))) << status(killed);
  EXPECT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(killed);
}

// The case that a static list of members cannot help: nobody knows whether the primary lives.
TEST_F(Consensus, ABackupTakesOverFromANodeThatCannotBeReached) {
  const int cut = 3;
  Child primary = Peer::start(cluster->socket(cut), {"echo", "service"});
  Endpoint caller = cluster->open(1);
  const dvk::Address first = await_name(caller, "service");
  must(caller.call(first, {}, patience), "call");
  Endpoint backup =
      must(Endpoint::open({.socket = cluster->socket(2), .name = "service", .is_backup = true}));
  unplug(cut);
  const Incoming promoted = must(backup.receive(patience), "receive");
  EXPECT_EQ(promoted.kind, Incoming::Kind::promoted);
  EXPECT_EQ(caller.call(first, {}, patience).error(), Errc::peer_died);
  dvk::Result<dvk::Address> second = caller.lookup("service");
  while (!second) second = caller.lookup("service");
  EXPECT_EQ(*second, backup.address());
  EXPECT_EQ(second->id, first.id) << "the same service";
  EXPECT_TRUE(await_status({cut}, R"("frozen":true)"));
  // When it is back it learns that what lived there has ended, and ends it.
  unplug(cut, true);
  const auto code = cluster->daemon(cut).wait(patience);
  ASSERT_TRUE(code.has_value()) << cluster->log(cut);
  EXPECT_EQ(*code, 1);
  EXPECT_TRUE(cluster->await_log(cut, "declared it lost"));
  cluster->start_daemon(cut);
  EXPECT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(cut);
  EXPECT_EQ(must(caller.lookup("service")), backup.address());
}

TEST_F(Consensus, ACutOffNodeGivesNoNamesAway) {
  const int cut = 1;  // it keeps the directory
  unplug(cut);
  ASSERT_TRUE(await_status({cut}, R"("frozen":true)"));
  const auto refused = Endpoint::open({.socket = cluster->socket(cut), .name = "mine"});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::unreachable);
  // The others give it, as soon as the cut off node is lost.
  dvk::Result<Endpoint> given = dvs::fail(Errc::not_ready);
  while (!given) given = Endpoint::open({.socket = cluster->socket(2), .name = "mine"});
  unplug(cut, true);
  ASSERT_TRUE(cluster->daemon(cut).wait(patience).has_value()) << cluster->log(cut);
  cluster->start_daemon(cut);
  EXPECT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(cut);
  Endpoint late = cluster->open(cut);
  EXPECT_EQ(await_name(late, "mine"), given->address());
}

TEST_F(Consensus, ADaemonThatIsRestartedInTimeIsNotLost) {
  const int node = all_but(leader())[0];
  cluster->stop_daemon(node);
  cluster->start_daemon(node);
  EXPECT_TRUE(await_status({1, 2, 3}, agreed_members("1,2,3"))) << status(node);
  EXPECT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(node);
  EXPECT_EQ(cluster->log(leader()).find("event=node_lost"), std::string::npos);
}

class ConsensusOfFour : public Consensus {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    begin(4);
    ASSERT_TRUE(await_status({1, 2, 3, 4}, members("1,2,3,4"))) << status(1);
    ASSERT_TRUE(await_status({1, 2, 3, 4}, R"("voters":\[[1-4],[1-4],[1-4]\])")) << status(1);
  }
};

// So that another one may be lost.
TEST_F(ConsensusOfFour, ALostVoterIsReplaced) {
  std::smatch voters;
  const std::string before = status(1);
  ASSERT_TRUE(
      std::regex_search(before, voters, std::regex(R"("voters":\[([1-4]),([1-4]),([1-4])\])")));
  const int killed = std::stoi(voters[3]);
  const int other = 10 - std::stoi(voters[1]) - std::stoi(voters[2]) - killed;
  cluster->kill_daemon(killed);
  std::vector<int> left{std::stoi(voters[1]), std::stoi(voters[2]), other};
  std::ranges::sort(left);
  const std::string wanted =
      std::to_string(left[0]) + "," + std::to_string(left[1]) + "," + std::to_string(left[2]);
  EXPECT_TRUE(await_status(left, R"("voters":\[)" + wanted + R"(\])")) << status(other);
  cluster->start_daemon(killed);
  EXPECT_TRUE(await_status({1, 2, 3, 4}, members("1,2,3,4"))) << status(killed);
}

TEST_F(Consensus, AllKilledAtOnceAgreeAgain) {
  for (const int node : {1, 2, 3}) cluster->kill_daemon(node);
  for (const int node : {1, 2, 3}) cluster->start_daemon(node);
  EXPECT_TRUE(await_status({1, 2, 3}, agreed_members("1,2,3"))) << status(1);
  EXPECT_TRUE(await_status({1, 2, 3}, members("1,2,3"))) << status(1);
  EXPECT_TRUE(await_status({1, 2, 3}, R"("frozen":false)")) << status(1);
  Endpoint one = cluster->open(1, "one");
  Endpoint other = cluster->open(3);
  EXPECT_EQ(await_name(other, "one"), one.address());
}

}  // namespace
}  // namespace integration
