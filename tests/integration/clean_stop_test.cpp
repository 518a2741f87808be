// A daemon that is told to stop is gone at once and leaves nothing behind.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
namespace fs = std::filesystem;

std::set<std::string> entries_of(const fs::path& directory) {
  std::set<std::string> names;
  if (!fs::exists(directory)) return names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

class CleanStop : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    shared_memory = entries_of("/dev/shm");
    cluster.emplace();
  }
  // Sockets and the like; a lock file may stay.
  std::set<std::string> sockets_of(int node) const {
    std::set<std::string> sockets;
    for (const auto& entry : fs::directory_iterator(cluster->run_directory(node))) {
      if (entry.is_socket()) sockets.insert(entry.path().filename().string());
    }
    return sockets;
  }
  std::set<std::string> shared_memory;
  std::optional<Cluster> cluster;
};

TEST_F(CleanStop, IdleDaemonsLeaveNothing) {
  EXPECT_EQ(sockets_of(1), (std::set<std::string>{"api.sock", "control.sock", "dvk.sock"}));
  cluster->stop_daemon(1);
  EXPECT_TRUE(sockets_of(1).empty());
  EXPECT_EQ(entries_of("/dev/shm"), shared_memory);
}

TEST_F(CleanStop, InTheMiddleOfEverything) {
  Peer server(*cluster, 2, "server");
  std::atomic<int> calls = 0;
  LoadThreads threads;
  for (int i = 0; i < 3; ++i) {
    threads.start("caller", [&] {
      Endpoint caller = cluster->open(1);
      while (true) {
        const auto reply = caller.call(server.address(), dvk::as_bytes("allocate 9 9"), patience);
        if (!reply) {
          EXPECT_TRUE(reply.error() == Errc::unreachable || reply.error() == Errc::detached)
              << to_string(reply.error());
          break;
        }
        ++calls;
      }
    });
  }
  while (calls < 100 && !threads.has_failed()) std::this_thread::sleep_for(1ms);
  Endpoint watcher = cluster->open(2);
  Endpoint watched = cluster->open(1);
  must(watcher.watch(watched.address()));
  must(watcher.send(watched.address(), dvk::as_bytes("known"), patience));
  EXPECT_EQ(must(watched.receive(patience)).text(), "known");
  cluster->stop_daemon(1);
  threads.join();
  EXPECT_TRUE(sockets_of(1).empty());
  EXPECT_EQ(watched.receive(patience).error(), Errc::detached);
  // A stop is no crash: the other node hears at once that the endpoints ended.
  const auto end = must(watcher.receive(patience), "receive");
  EXPECT_EQ(end.kind, dvk::Incoming::Kind::peer_end);
  EXPECT_EQ(end.reason, Errc::peer_died);
  // And it comes back as if nothing had been.
  cluster->start_daemon(1);
  cluster->await_links();
  Endpoint again = cluster->open(1);
  EXPECT_EQ(
      dvk::as_text(must(again.call(server.address(), dvk::as_bytes("allocate 1 1"), patience))),
      "ok");
}

TEST_F(CleanStop, ByTheControlSocket) {
  cluster->control(1, "stop");
  EXPECT_EQ(cluster->daemon(1).wait(patience), 0);
  EXPECT_TRUE(sockets_of(1).empty());
}

TEST_F(CleanStop, AKilledDaemonsRemainsAreNoObstacle) {
  cluster->kill_daemon(1);
  EXPECT_FALSE(sockets_of(1).empty());
  cluster->start_daemon(1);
  cluster->await_links();
  Endpoint endpoint = cluster->open(1);
  EXPECT_EQ(dvs::raw(endpoint.node()), 1);
}

TEST_F(CleanStop, NumbersAreNeverGivenTwiceWhateverTheEnd) {
  std::set<dvs::Incarnation> given;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(given.insert(cluster->open(1).address().incarnation).second);
    }
    if (round % 2 == 0) {
      cluster->kill_daemon(1);
    } else {
      cluster->stop_daemon(1);
    }
    cluster->start_daemon(1);
    cluster->await_links();
  }
}

}  // namespace
}  // namespace integration
