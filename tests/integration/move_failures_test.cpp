// Moves that fail: the endpoint then goes on where it was, or, when its process died, its end is
// told.
#include <gtest/gtest.h>

#include <random>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/peer.hpp"
#include "integration/run_options.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::NodeId;

class MoveFailures : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace();
    endpoint.emplace(cluster->open(1, "mover"));
    caller.emplace(cluster->open(2));
    introduce(*caller, *endpoint);
    must(caller->send(endpoint->address(), dvk::as_bytes("before"), patience));
    call = must(caller->start_call(endpoint->address(), dvk::as_bytes("question")));
  }
  // Everything that was under way before the failed move is there after it, and new things work.
  void expect_untouched() {
    std::atomic<bool> is_done = false;
    LoadThreads threads;
    threads.start("caller", [&] {
      EXPECT_EQ(dvk::as_text(must(caller->finish_call(call, patience), "finish_call")), "answer");
      must(caller->send(endpoint->address(), dvk::as_bytes("after"), patience), "send");
      must(caller->flush(endpoint->address(), patience), "flush");
      EXPECT_EQ(must(caller->lookup("mover"), "lookup"), endpoint->address());
      is_done = true;
    });
    EXPECT_EQ(must(endpoint->receive(patience), "receive").text(), "before");
    const auto request = must(endpoint->receive_request(patience), "receive_request");
    EXPECT_EQ(request.text(), "question");
    must(endpoint->reply(request, dvk::as_bytes("answer")), "reply");
    EXPECT_EQ(must(endpoint->receive(patience), "receive").text(), "after");
    while (!is_done && !threads.has_failed()) {
      EXPECT_EQ(endpoint->receive(20ms).error(), Errc::deadline);
    }
  }
  std::optional<Cluster> cluster;
  std::optional<Endpoint> endpoint;
  std::optional<Endpoint> caller;
  dvk::CallId call{};
};

TEST_F(MoveFailures, NobodyAdopts) {
  EXPECT_EQ(endpoint->move_to(NodeId{2}, dvk::as_bytes("state"), 300ms).error(), Errc::deadline);
  expect_untouched();
}

TEST_F(MoveFailures, Cancelled) {
  LoadThreads threads;
  threads.start("canceller", [canceller = endpoint->canceller()] {
    std::this_thread::sleep_for(100ms);
    canceller.cancel();
  });
  EXPECT_EQ(endpoint->move_to(NodeId{2}, {}, patience).error(), Errc::cancelled);
  expect_untouched();
}

TEST_F(MoveFailures, TheTargetIsNoNodeOrThisOne) {
  EXPECT_EQ(endpoint->move_to(NodeId{77}, {}, patience).error(), Errc::invalid_argument);
  EXPECT_EQ(endpoint->move_to(NodeId{1}, {}, patience).error(), Errc::invalid_argument);
  expect_untouched();
}

TEST_F(MoveFailures, TheTargetsDaemonIsKilled) {
  // The caller has to outlive it: on the node of the endpoint.
  EXPECT_EQ(must(endpoint->receive(patience)).text(), "before");
  must(endpoint->receive_request(patience));
  caller.emplace(cluster->open(1));
  introduce(*caller, *endpoint);
  must(caller->send(endpoint->address(), dvk::as_bytes("before"), patience));
  call = must(caller->start_call(endpoint->address(), dvk::as_bytes("question")));
  LoadThreads threads;
  threads.start("killer", [this] {
    std::this_thread::sleep_for(100ms);
    cluster->daemon(2).signal(SIGKILL);
  });
  const auto moved = endpoint->move_to(NodeId{2}, {}, patience);
  ASSERT_FALSE(moved);
  EXPECT_TRUE(moved.error() == Errc::unreachable || moved.error() == Errc::deadline)
      << to_string(moved.error());
  threads.join();
  EXPECT_EQ(cluster->daemon(2).wait(patience), 128 + SIGKILL);
  // The directory may have lived there: it needs the other node back.
  cluster->start_daemon(2);
  cluster->await_links();
  expect_untouched();
}

TEST_F(MoveFailures, AnAdopterWithoutAMoveWaitsForItsDeadline) {
  const auto adopted =
      Endpoint::adopt({.socket = cluster->socket(2), .name = "mover", .deadline = 300ms});
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.error(), Errc::deadline);
  EXPECT_EQ(Endpoint::adopt({.socket = cluster->socket(2)}).error(), Errc::invalid_argument);
  expect_untouched();
}

TEST_F(MoveFailures, TheAdopterIsKilledAtAnyMoment) {
  std::mt19937_64 random(run_options().seed);
  for (std::uint64_t round = 0; run_options().wants_more(round, 12); ++round) {
    Endpoint mover = cluster->open(1, "mover-" + std::to_string(round));
    const dvk::Address address = mover.address();
    Child adopter = Peer::start(cluster->socket(2), {"adopt", "mover-" + std::to_string(round)});
    const auto delay = std::chrono::microseconds(random() % 40'000);
    LoadThreads threads;
    threads.start("killer", [&] {
      std::this_thread::sleep_for(delay);
      adopter.signal(SIGKILL);
    });
    const auto moved = mover.move_to(NodeId{2}, {}, 500ms);
    threads.join();
    if (moved) {  // and then died there
      EXPECT_EQ(caller->call(address, {}, patience).error(), Errc::peer_died) << "round " << round;
      continue;
    }
    EXPECT_TRUE(moved.error() == Errc::deadline || moved.error() == Errc::peer_died)
        << to_string(moved.error());
    LoadThreads callers;
    std::atomic<bool> is_answered = false;
    callers.start("caller", [&] {
      must(caller->call(address, dvk::as_bytes("where are you?"), patience), "call");
      is_answered = true;
    });
    while (!is_answered && !callers.has_failed()) {
      const auto request = mover.receive_request(50ms);
      if (request) must(mover.reply(*request, {}), "reply");
    }
  }
  expect_untouched();
}

TEST_F(MoveFailures, TheSourceIsKilledAtAnyMoment) {
  std::mt19937_64 random(run_options().seed);
  int adopted_count = 0;
  for (std::uint64_t round = 0; run_options().wants_more(round, 12); ++round) {
    const std::string name = "source-" + std::to_string(round);
    Peer source(*cluster, 1, name);
    must(caller->watch(source.address()));
    Child adopter = Peer::start(cluster->socket(2), {"adopt", name});
    // Once the adopter has been waiting for long, once it comes in the middle; some states take a
    // while.
    if (round % 2 == 0) std::this_thread::sleep_for(50ms);
    const std::string bytes = round % 4 < 2 ? "8000000" : "0";
    ASSERT_EQ(source.ask("allocate " + bytes + " 1"), "ok");
    source.start("move_to 2");
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    source.process().kill();
    // Either the move was decided before, and the endpoint lives there, or its life is over.
    const auto answer = caller->call(source.address(), dvk::as_bytes("anyone?"), patience);
    if (answer) {
      ++adopted_count;
      EXPECT_TRUE(adopter.is_running());
    } else {
      EXPECT_TRUE(answer.error() == Errc::peer_died || answer.error() == Errc::unreachable)
          << to_string(answer.error());
    }
  }
  std::printf("%d of the killed sources had moved\n", adopted_count);
  expect_untouched();
}

TEST_F(MoveFailures, SomeoneElseMayNotAdopt) {
  Child stranger = Peer::start(cluster->socket(2), {"adopt", "mover"}, 12345,
                               cluster->directory() / "stranger.log");
  EXPECT_EQ(endpoint->move_to(NodeId{2}, {}, 500ms).error(), Errc::deadline);
  expect_untouched();
}

}  // namespace
}  // namespace integration
