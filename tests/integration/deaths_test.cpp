// Processes and daemons that die at the worst moment: only their own conversations suffer.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/pattern.hpp"
#include "integration/peer.hpp"
#include "integration/run_options.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::Incoming;

class Deaths : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace();
  }
  std::optional<Cluster> cluster;
};

// Takes what a killed flooder had sent; every message whole and in order. Returns how many came.
std::uint64_t take_flood(Endpoint& receiver, std::size_t bytes, const std::function<void()>& kill,
                         std::uint64_t messages_before_kill) {
  for (std::uint64_t expected = 1;; ++expected) {
    if (expected == messages_before_kill) kill();
    const Incoming incoming = must(receiver.receive(patience), "receive");
    if (incoming.kind == Incoming::Kind::peer_end) {
      EXPECT_EQ(incoming.reason, Errc::peer_died);
      return expected - 1;
    }
    if (expected == 1) must(receiver.watch(incoming.from), "watch");
    std::uint64_t number = 0;
    std::memcpy(&number, incoming.payload.data(), sizeof number);
    if (incoming.payload.size() != bytes || number != expected ||
        !has_pattern(dvs::BytesView(incoming.payload).subspan(sizeof number), number,
                     sizeof number)) {
      ADD_FAILURE() << "message " << number << " of " << incoming.payload.size() << " bytes where "
                    << expected << " was due";
      return expected - 1;
    }
  }
}

// Both sides are in the middle of their work on the rings when one is killed.
TEST_F(Deaths, ASenderKilledInTheMiddleOfItsSendsLosesOnlyTheTail) {
  std::mt19937_64 random(run_options().seed);
  Endpoint receiver = cluster->open(1, "receiver");
  for (std::uint64_t round = 0; run_options().wants_more(round, 12); ++round) {
    const int node = static_cast<int>(1 + round % 2);
    const std::size_t bytes = round % 3 == 0 ? dvk::max_message_bytes : 8 + random() % 5000;
    Child flooder =
        Peer::start(cluster->socket(node), {"flood", "receiver", std::to_string(bytes)});
    const auto killed_at = 1 + random() % 200;
    take_flood(
        receiver, bytes, [&] { flooder.kill(); }, std::max<std::uint64_t>(2, killed_at));
    if (HasFailure()) FAIL() << "round " << round << ", seed " << run_options().seed;
  }
  // And the receiver is as well as before.
  Endpoint other = cluster->open(1);
  must(other.send(receiver.address(), dvk::as_bytes("still there?"), patience));
  EXPECT_EQ(must(receiver.receive_from(other.address(), patience)).text(), "still there?");
}

TEST_F(Deaths, CallersOfAKilledServerLearnPeerDied) {
  for (const int node : {1, 2}) {
    Child server = Peer::start(cluster->socket(node), {"echo", "server"});
    Endpoint caller = cluster->open(1);
    const dvk::Address address = await_name(caller, "server");
    must(caller.call(address, {}, patience), "call");
    server.signal(SIGSTOP);  // so that calls are surely under way
    std::vector<dvk::CallId> calls;
    for (int i = 0; i < 10; ++i) calls.push_back(must(caller.start_call(address, {})));
    server.kill();
    for (const dvk::CallId call : calls) {
      EXPECT_EQ(caller.finish_call(call, patience).error(), Errc::peer_died) << "node " << node;
    }
    EXPECT_EQ(caller.call(address, {}, patience).error(), Errc::peer_died);
    EXPECT_EQ(caller.send(address, {}, patience).error(), Errc::peer_died);
    EXPECT_EQ(caller.flush(address, patience).error(), Errc::peer_died);
    while (caller.lookup("server")) std::this_thread::sleep_for(5ms);
  }
}

TEST_F(Deaths, MessagesToAKilledReceiverAreReportedLost) {
  for (const int node : {1, 2}) {
    Child server = Peer::start(cluster->socket(node), {"echo", "server"});
    Endpoint sender = cluster->open(1);
    const dvk::Address address = await_name(sender, "server");
    must(sender.call(address, {}, patience), "call");
    server.signal(SIGSTOP);
    for (int i = 0; i < 5; ++i) must(sender.send(address, dvk::as_bytes("lost"), patience));
    server.kill();
    const Incoming end = must(sender.receive(patience), "receive");
    EXPECT_EQ(end.kind, Incoming::Kind::peer_end);
    EXPECT_EQ(end.reason, Errc::peer_died);
    EXPECT_EQ(end.lost, 5U);
    while (sender.lookup("server")) std::this_thread::sleep_for(5ms);
  }
}

TEST_F(Deaths, AServerSurvivesItsKilledCallers) {
  Peer server(*cluster, 1, "server");
  std::mt19937_64 random(run_options().seed);
  for (std::uint64_t round = 0; run_options().wants_more(round, 10); ++round) {
    Child caller = Peer::start(cluster->socket(static_cast<int>(1 + round % 2)),
                               {"call", "server", std::to_string(random() % 60000)});
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 60));
    EXPECT_TRUE(caller.is_running());
    caller.kill();
    EXPECT_EQ(server.ask("allocate 10 1"), "ok") << "round " << round;
  }
}

TEST_F(Deaths, EndpointsOfAKilledDaemonAreDetachedAndOthersLearnIt) {
  Endpoint near = cluster->open(1);
  Endpoint neighbour = cluster->open(1);
  Endpoint far = cluster->open(2);
  introduce(near, neighbour);
  introduce(near, far);
  const auto remote_call = must(near.start_call(far.address(), dvk::as_bytes("remote")));
  const auto local_call = must(near.start_call(neighbour.address(), dvk::as_bytes("local")));
  must(far.receive_request(patience));
  must(far.watch(near.address()));
  cluster->kill_daemon(1);
  // The outcome of what was under way is unknown; from then on the endpoint is of no use.
  EXPECT_EQ(near.finish_call(remote_call, patience).error(), Errc::unreachable);
  EXPECT_EQ(near.finish_call(local_call, patience).error(), Errc::unreachable);
  EXPECT_EQ(near.send(far.address(), {}, patience).error(), Errc::detached);
  EXPECT_EQ(near.receive(patience).error(), Errc::detached);
  // What a neighbour had sent was in the ring between the two, not with the daemon.
  EXPECT_EQ(must(neighbour.receive(patience), "receive").text(), "local");
  EXPECT_EQ(neighbour.receive(patience).error(), Errc::detached);
  const auto reopened = Endpoint::open({.socket = cluster->socket(1)});
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error(), Errc::system);
  EXPECT_NE(reopened.error().detail.find("is dvsd running"), std::string::npos);

  // The other node learns of it when the daemon is back, as a new one; before, it is only out of
  // reach.
  cluster->start_daemon(1);
  cluster->await_links();
  const Incoming end = must(far.receive(patience), "receive");
  EXPECT_EQ(end.kind, Incoming::Kind::peer_end);
  EXPECT_TRUE(end.reason == Errc::peer_died || end.reason == Errc::unreachable)
      << name_of(end.reason);
  Endpoint again = cluster->open(1);
  EXPECT_GT(again.address().incarnation, near.address().incarnation);
  must(again.send(far.address(), dvk::as_bytes("new life"), patience), "send");
  EXPECT_EQ(must(far.receive_from(again.address(), patience)).text(), "new life");
}

TEST_F(Deaths, ALostNodeIsUnreachableAndComesBack) {
  cluster.reset();
  cluster.emplace(ClusterOptions{.give_up = 1500ms});
  Endpoint near = cluster->open(1);
  Endpoint far = cluster->open(2);
  introduce(near, far);
  const auto call = must(near.start_call(far.address(), dvk::as_bytes("question")));
  must(far.receive_request(patience));
  must(near.watch(far.address()));
  cluster->network().set_cable(1, 2, false);
  EXPECT_EQ(near.finish_call(call, patience).error(), Errc::unreachable);
  const Incoming end = must(near.receive(patience), "receive");
  EXPECT_EQ(end.kind, Incoming::Kind::peer_end);
  EXPECT_EQ(end.reason, Errc::unreachable);
  EXPECT_EQ(near.call(far.address(), {}, 5s).error(), Errc::unreachable);
  cluster->network().set_cable(1, 2, true);
  cluster->await_links();
  must(near.send(far.address(), dvk::as_bytes("found again"), patience), "send");
  EXPECT_EQ(must(far.receive(patience), "receive").text(), "found again");
}

}  // namespace
}  // namespace integration
