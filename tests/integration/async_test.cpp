// Endpoints in coroutines: many operations under way at once on one thread.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <dvk/async.hpp>
#include <thread>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"

namespace integration {
namespace {

using boost::asio::awaitable;
using boost::asio::co_spawn;
using boost::asio::detached;
using dvk::AsyncEndpoint;
using dvk::Errc;

class Async : public testing::TestWithParam<int> {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace();
    near = std::make_unique<AsyncEndpoint>(io.get_executor(), cluster->open(1));
    far = std::make_unique<AsyncEndpoint>(io.get_executor(), cluster->open(GetParam()));
    for (AsyncEndpoint* endpoint : {near.get(), far.get()}) {
      co_spawn(io, endpoint->run(), detached);
    }
  }
  // Runs the body and then ends both endpoints.
  template <class Body>
  void run(Body body) {
    bool is_done = false;
    co_spawn(
        io,
        [&]() -> awaitable<void> {
          co_await body();
          is_done = true;
          near->stop();
          far->stop();
        },
        [](std::exception_ptr failure) {
          if (failure) std::rethrow_exception(failure);
        });
    io.run_for(patience);
    EXPECT_TRUE(is_done);
  }
  awaitable<void> serve() {
    while (auto request = co_await far->receive_request()) {
      must(far->reply(*request, request->payload), "reply");
    }
  }

  std::optional<Cluster> cluster;
  boost::asio::io_context io;
  std::unique_ptr<AsyncEndpoint> near, far;
};
INSTANTIATE_TEST_SUITE_P(, Async, testing::Values(1, 2), [](const auto& test) {
  return test.param == 1 ? "OnOneNode" : "AcrossNodes";
});

TEST_P(Async, ManyCallsAtOnce) {
  constexpr int count = 100;
  co_spawn(io, serve(), detached);
  int answered = 0;
  const auto call = [&](int number) -> awaitable<void> {
    const std::string text = std::to_string(number);
    const auto reply = co_await near->call(far->endpoint().address(),
                                           dvs::to_bytes(dvk::as_bytes(text)), patience);
    if (dvk::as_text(must(reply, "call")) == text) ++answered;
  };
  run([&]() -> awaitable<void> {
    for (int i = 0; i < count; ++i) co_spawn(io, call(i), detached);
    boost::asio::steady_timer pause(io);
    while (answered < count) {
      pause.expires_after(2ms);
      co_await pause.async_wait(boost::asio::use_awaitable);
    }
  });
  EXPECT_EQ(answered, count);
}

TEST_P(Async, MessagesInOrderThroughAFullQueue) {
  constexpr std::size_t count = 300;
  const auto send = [&]() -> awaitable<void> {
    for (std::size_t i = 0; i < count; ++i) {
      must(co_await near->send(far->endpoint().address(), dvk::Bytes(i * 200), patience), "send");
    }
  };
  std::size_t received = 0;
  run([&]() -> awaitable<void> {
    co_spawn(io, send(), detached);
    for (; received < count; ++received) {
      const auto incoming = must(co_await far->receive(patience), "receive");
      if (incoming.payload.size() != received * 200) break;
    }
  });
  EXPECT_EQ(received, count);
}

TEST_P(Async, DeadlinesAndTheEnd) {
  std::optional<Errc> ended_by;
  const auto wait_for_ever = [&]() -> awaitable<void> {
    const auto incoming = co_await near->receive();
    ended_by = incoming ? Errc{} : incoming.error().code;
  };
  co_spawn(io, wait_for_ever(), detached);
  run([&]() -> awaitable<void> {
    const auto late = co_await far->receive(30ms);
    EXPECT_EQ(late.error(), Errc::deadline);
    const auto unanswered = co_await near->call(far->endpoint().address(), {}, 30ms);
    EXPECT_EQ(unanswered.error(), Errc::deadline);
  });
  EXPECT_EQ(ended_by, Errc::cancelled);
  EXPECT_EQ(near->endpoint().node(), dvk::NodeId{1});
}

TEST_P(Async, AKilledDaemonEndsEverything) {
  std::optional<Errc> ended_by;
  co_spawn(
      io,
      [&]() -> awaitable<void> {
        const auto incoming = co_await near->receive();
        ended_by = incoming ? Errc{} : incoming.error().code;
        far->stop();
      },
      detached);
  LoadThreads threads;
  threads.start("killer", [&] {
    std::this_thread::sleep_for(50ms);
    cluster->kill_daemon(1);
  });
  io.run_for(patience);
  EXPECT_EQ(ended_by, Errc::detached);
}

}  // namespace
}  // namespace integration
