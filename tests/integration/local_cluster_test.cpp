// What `dvs cluster up --local` makes, what the command line says of it, and that nothing of it is
// left when it is gone, however it went.
#include "integration/local_cluster.hpp"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>

#include <dvk/endpoint.hpp>

#include "integration/cluster.hpp"

namespace integration {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* nobody_there = "no dvsd answers";

class LocalClusterTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = reason_to_skip_local(); !reason.empty()) GTEST_SKIP() << reason;
    before_ = traces();
    // Not by pid: it is the same in every test's process namespace.
    std::string name = "/tmp/dvs-local-test-XXXXXX";
    scratch_ = mkdtemp(name.data());
    fs::permissions(scratch_, fs::perms(0755));
  }
  void TearDown() override {
    if (!scratch_.empty()) fs::remove_all(scratch_);
  }
  // A dvsd that does this to the dvs that starts it, before it begins its work.
  std::string daemon_that(const std::string& command) const {
    const fs::path path = scratch_ / "dvsd";
    std::ofstream(path) << "#!/bin/sh\n"
                        << command << "\nexec " << Cluster::daemon_program() << " \"$@\"\n";
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  void expect_no_trace() const { EXPECT_EQ(traces(), before_); }

  std::string before_;
  fs::path scratch_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// --- What it makes -------------------------------------------------------------------------------

TEST_F(LocalClusterTest, UpIsSeenByEveryCommandAndDownLeavesNothing) {
  const LocalCluster cluster;
  EXPECT_TRUE(contains(cluster.must("cluster up --local 3 --cores-per-node 1"), "is up"));

  const json::value status = cluster.json("cluster status");
  EXPECT_EQ(status.at("members").as_array().size(), 3U);
  for (const json::value& link : status.at("links").as_array()) {
    EXPECT_EQ(link.at("state").as_string(), "up") << link;
  }
  EXPECT_TRUE(status.at("suspected").as_array().empty());
  for (int node = 1; node <= 3; ++node) {
    EXPECT_EQ(cluster.daemon_state(node), "running");
    for (const char* asked : {"n1", "n2", "n3"}) EXPECT_EQ(cluster.state(node, asked), "up");
  }
  EXPECT_TRUE(contains(cluster.must("node ls"), "n1 *   up      10.77.0.1:7400\n"));
  EXPECT_TRUE(contains(cluster.must("--at 2 node inspect"), "node                 n2\n"));
  EXPECT_TRUE(contains(cluster.must("--at n2 node inspect n3"), "node                 n3\n"));
  EXPECT_TRUE(contains(cluster.must("events"), "link_state"));
  EXPECT_TRUE(contains(cluster.must("logs --at n3 --tail 1"), "event="));
  EXPECT_FALSE(contains(cluster.must("version"), "does not answer"));

  cluster.must("cluster down");
  expect_no_trace();
}

TEST_F(LocalClusterTest, ProgramsOnItsNodesReachEachOther) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 3");
  auto server = must(Child::start({.command = {PING_PONG_PROGRAM, "serve", "table"},
                                   .environment = {"DVK_SOCKET=" + cluster.socket(2)}}),
                     "start ping_pong");
  {
    dvk::Endpoint client = must(dvk::Endpoint::open({.socket = cluster.socket(1)}), "open");
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!client.lookup("table") && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(10ms);
    }
  }
  const Outcome call =
      run_program({PING_PONG_PROGRAM, "call", "table", "2"}, {"DVK_SOCKET=" + cluster.socket(1)});
  EXPECT_EQ(call.exit_code, 0) << call.output;
  EXPECT_TRUE(contains(call.output, "ping 2 -> pong 2")) << call.output;
  EXPECT_TRUE(contains(cluster.must("--at n2 node inspect"), "endpoints            1\n"));
}

TEST_F(LocalClusterTest, ALoneNodeIsADaemonAndNothingElse) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 1");
  EXPECT_EQ(run_program({"ip", "netns"}).output, "");
  EXPECT_EQ(cluster.json("node ls").as_array().size(), 1U);
  EXPECT_EQ(cluster.dvs("dev cut n1").exit_code, 2);
  cluster.must("cluster down");
  expect_no_trace();
}

TEST_F(LocalClusterTest, TwoOfThemSideBySide) {
  const LocalCluster first("first"), second("second");
  first.must("cluster up --local 2");
  second.must("cluster up --local 2 --dir /run/second");
  EXPECT_TRUE(fs::exists("/run/second/n2/run/api.sock"));
  first.must("cluster down");
  EXPECT_EQ(second.state(2), "up");
  second.must("cluster down");
  expect_no_trace();
}

// --- Faults --------------------------------------------------------------------------------------

TEST_F(LocalClusterTest, ACutIsSeenAndHeals) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 3");
  cluster.must("dev cut n2");
  EXPECT_TRUE(cluster.await_state(2, false));
  EXPECT_TRUE(cluster.await_state(1, false, "n2"));
  EXPECT_EQ(cluster.state(3), "up");
  EXPECT_EQ(cluster.json("cluster status").at("suspected"), (json::array{2}));
  EXPECT_EQ(cluster.daemon_state(2), "running");
  cluster.must("dev heal n2");
  EXPECT_TRUE(cluster.await_state(2, true));
}

TEST_F(LocalClusterTest, APauseIsSeenAndEnds) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  cluster.must("dev pause n2");
  EXPECT_TRUE(cluster.await_state(2, false));
  EXPECT_EQ(cluster.daemon_state(2), "paused");
  cluster.must("dev resume n2");
  EXPECT_TRUE(cluster.await_state(2, true));
  EXPECT_EQ(cluster.daemon_state(2), "running");
  // One that is paused ends all the same.
  cluster.must("dev pause n2");
  cluster.must("cluster down");
  expect_no_trace();
}

TEST_F(LocalClusterTest, AKilledDaemonIsDeadUntilItIsStarted) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  EXPECT_EQ(cluster.dvs("dev start n2").exit_code, 1);
  cluster.must("dev kill n2");
  EXPECT_EQ(cluster.daemon_state(2), "dead");
  EXPECT_TRUE(cluster.await_state(2, false));
  const Outcome asked = cluster.dvs("--at n2 node ls");
  EXPECT_EQ(asked.exit_code, 1);
  EXPECT_TRUE(contains(asked.output, nobody_there)) << asked.output;
  EXPECT_TRUE(contains(cluster.dvs("dev kill n2").output, "dvs dev start n2"));
  cluster.must("dev start n2");
  EXPECT_TRUE(cluster.await_state(2, true));
  // Without --at, whoever runs is asked.
  cluster.must("dev kill n1");
  EXPECT_EQ(cluster.json("cluster status").at("answered_by").to_number<int>(), 2);
}

TEST_F(LocalClusterTest, EventsAreFollowed) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  const fs::path log = scratch_ / "events";
  Child follower = cluster.start("events --follow --since 3", log);
  cluster.must("dev pause n2");
  const auto read = [&] {
    std::ifstream file(log);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!contains(read(), "state=suspect") && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(contains(read(), "state=suspect"));
  EXPECT_FALSE(contains(read(), "started"));
  cluster.must("cluster down");
  EXPECT_EQ(follower.wait(patience), 0) << "the stream ends with the daemon, in order";
}

// --- What is in the way --------------------------------------------------------------------------

TEST_F(LocalClusterTest, ASecondUpIsRefused) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  const Outcome again = cluster.dvs("cluster up --local 3");
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_TRUE(contains(again.output, "dvs cluster down --cluster test")) << again.output;
  EXPECT_EQ(cluster.state(2), "up");
}

TEST_F(LocalClusterTest, WhatIsNotOursIsNotTouched) {
  const LocalCluster cluster;
  run_program({"ip", "netns", "add", "test-n2"});
  const std::string before = traces();
  EXPECT_TRUE(contains(cluster.dvs("cluster up --local 2").output, "ip netns del test-n2"));
  EXPECT_TRUE(contains(cluster.dvs("cluster up --local 2 --dir /run").output, "/run exists"));
  EXPECT_EQ(cluster.dvs("cluster up --local 2 --cluster BAD").exit_code, 2);
  EXPECT_EQ(cluster.dvs("cluster up --local 2 --dir /" + std::string(100, 'x')).exit_code, 2);
  EXPECT_EQ(cluster.dvs("cluster up").exit_code, 2);
  EXPECT_EQ(cluster.must("cluster down"),
            "There is no local cluster \"test\": nothing to take away.\n");
  EXPECT_EQ(traces(), before);
  run_program({"ip", "netns", "del", "test-n2"});
  ASSERT_EQ(umount2("/run/netns", MNT_DETACH), 0);
  fs::remove("/run/netns");
  expect_no_trace();
}

TEST_F(LocalClusterTest, ADaemonThatDoesNotStartIsToldAndAllTakenBack) {
  const LocalCluster cluster;
  const Outcome outcome = cluster.dvs("cluster up --local 2 --dvsd /bin/false");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(contains(outcome.output, "the dvsd of n1 has ended")) << outcome.output;
  expect_no_trace();
  // What it said last is told, too: cat complains of the options that dvsd knows.
  EXPECT_TRUE(contains(cluster.dvs("cluster up --local 2 --dvsd /bin/cat").output, "--config"));
  expect_no_trace();
}

TEST_F(LocalClusterTest, OrdinaryUsersAreToldThatRootIsNeeded) {
  const fs::path home = scratch_ / "home";
  fs::create_directory(home);
  ASSERT_EQ(chown(home.c_str(), 65534, 65534), 0);
  const std::vector<std::string> environment = {"HOME=" + home.string(), "DVS_CLUSTER=test"};
  const auto as_user = [&](std::vector<std::string> words) {
    words.insert(words.begin(), DVS_PROGRAM);
    return run_program(std::move(words), environment, 65534);
  };
  const Outcome outcome = as_user({"cluster", "up", "--local", "2"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(contains(outcome.output, "sudo")) << outcome.output;
  {
    const LocalCluster others;
    others.must("cluster up --local 1");
    const std::string socket = others.directory() / "n1/run/api.sock";
    EXPECT_TRUE(contains(as_user({"--socket", socket, "node", "ls"}).output, "try it as root"));
  }
  // A lone node needs nothing.
  EXPECT_EQ(as_user({"cluster", "up", "--local", "1"}).exit_code, 0);
  EXPECT_EQ(as_user({"node", "ls"}).exit_code, 0);
  EXPECT_EQ(as_user({"cluster", "down"}).exit_code, 0);
  expect_no_trace();
}

// --- The end, however it comes -------------------------------------------------------------------

TEST_F(LocalClusterTest, DownAfterUpWasKilledAnywhere) {
  const LocalCluster cluster;
  for (int round = 0; round < 15; ++round) {
    {
      Child up = cluster.start("cluster up --local 3");
      std::this_thread::sleep_for(round * 20ms);
      up.kill();
    }
    cluster.must("cluster down");
    ASSERT_EQ(traces(), before_) << "after " << round * 20 << " ms";
  }
}

TEST_F(LocalClusterTest, AnInterruptedUpTakesBackWhatItMade) {
  const LocalCluster cluster;
  const Outcome outcome =
      cluster.dvs("cluster up --local 3 --dvsd " + daemon_that("kill -INT $PPID"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_TRUE(contains(outcome.output, "interrupted")) << outcome.output;
  EXPECT_FALSE(fs::exists(cluster.record()));
  expect_no_trace();
}

TEST_F(LocalClusterTest, DownAfterUpWasKilledByItsOwnChild) {
  const LocalCluster cluster;
  const std::string daemon = daemon_that("kill -KILL $PPID");
  EXPECT_EQ(cluster.dvs("cluster up --local 3 --dvsd " + daemon).exit_code, 128 + SIGKILL);
  EXPECT_TRUE(fs::exists(cluster.record()));
  cluster.must("cluster down");
  expect_no_trace();
}

TEST_F(LocalClusterTest, DownEndsWhatElseRunsOnTheNodes) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  auto stranger =
      must(Child::start({.command = {"ip", "netns", "exec", "test-n1", "sleep", "1000"}}), "start");
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!contains(run_program({"ip", "netns", "pids", "test-n1"}).output,
                   std::to_string(stranger.pid())) &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(10ms);
  }
  cluster.must("dev kill n2");
  cluster.must("cluster down");
  EXPECT_EQ(stranger.wait(patience), 128 + SIGTERM);
  expect_no_trace();
}

// Of a machine that was started anew only the files are there; what has the names and pids of
// before is someone else's.
TEST_F(LocalClusterTest, DownAfterAReboot) {
  const LocalCluster cluster;
  cluster.must("cluster up --local 2");
  std::ifstream file(cluster.record());
  std::string text(std::istreambuf_iterator<char>(file), {});
  const std::string key = "\"boot_id\":\"";
  const std::size_t at = text.find(key);
  ASSERT_NE(at, std::string::npos);
  const std::string original = text;
  text[at + key.size()] = 'x';
  std::ofstream(cluster.record()) << text;
  cluster.must("cluster down");
  EXPECT_FALSE(fs::exists(cluster.directory()));
  EXPECT_FALSE(fs::exists(cluster.record()));
  EXPECT_TRUE(contains(run_program({"ip", "netns"}).output, "test-n1"));
  // Now as it should be.
  fs::create_directories(cluster.record().parent_path());
  std::ofstream(cluster.record()) << original;
  cluster.must("cluster down");
  expect_no_trace();
}

}  // namespace
}  // namespace integration

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first != "--gtest_list_tests") integration::isolate(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
