// Every messaging call of libdvk, on one node and across two.
#include <gtest/gtest.h>

#include <thread>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/pattern.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;
using dvk::Incoming;

// One cluster for all tests of the process; each test opens endpoints of its own. The parameter is
// the node of the second endpoint: 1 is a neighbour, 2 lives across the link.
class Messages : public testing::TestWithParam<int> {
 public:
  static void SetUpTestSuite() {
    if (!reason_to_skip()) cluster = std::make_unique<Cluster>();
  }
  static void TearDownTestSuite() { cluster.reset(); }
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    near.emplace(cluster->open(1));
    far.emplace(cluster->open(GetParam()));
    introduce(*near, *far);
  }

  static inline std::unique_ptr<Cluster> cluster;
  std::optional<Endpoint> near, far;
};
INSTANTIATE_TEST_SUITE_P(, Messages, testing::Values(1, 2), [](const auto& test) {
  return test.param == 1 ? "OnOneNode" : "AcrossNodes";
});

// Serves requests of `endpoint` on a thread until the scope ends.
class Server {
 public:
  using Answer = std::function<void(Endpoint&, const dvk::Request&)>;
  Server(Endpoint& endpoint, Answer answer) : canceller_(endpoint.canceller()) {
    threads_.start("server", [this, &endpoint, answer = std::move(answer)] {
      while (!threads_.is_stopping()) {
        const auto request = endpoint.receive_request(patience);
        if (request) {
          answer(endpoint, *request);
        } else if (request.error() != Errc::cancelled) {
          throw std::runtime_error(to_string(request.error()));
        }
      }
    });
  }
  ~Server() {
    threads_.stop();
    canceller_.cancel();
  }

 private:
  dvk::Canceller canceller_;
  LoadThreads threads_;
};

void echo(Endpoint& endpoint, const dvk::Request& request) {
  must(endpoint.reply(request, request.payload), "reply");
}

TEST_P(Messages, OfEverySizeArriveWholeAndInOrder) {
  const std::size_t sizes[] = {0, 1, 7, 8, 4096, 65535, dvk::max_message_bytes};
  for (const std::size_t size : sizes) {
    must(near->send(far->address(), make_pattern(size, size), patience), "send");
  }
  for (const std::size_t size : sizes) {
    const Incoming incoming = must(far->receive(patience), "receive");
    EXPECT_EQ(incoming.kind, Incoming::Kind::message);
    EXPECT_EQ(incoming.from, near->address());
    ASSERT_EQ(incoming.payload.size(), size);
    EXPECT_TRUE(has_pattern(incoming.payload, size));
  }
}

TEST_P(Messages, TooLargeAreRefused) {
  const dvk::Bytes large(dvk::max_message_bytes + 1);
  EXPECT_EQ(near->send(far->address(), large, patience).error(), Errc::message_too_large);
  EXPECT_EQ(near->call(far->address(), large, patience).error(), Errc::message_too_large);
  EXPECT_EQ(near->start_call(far->address(), large).error(), Errc::message_too_large);
  must(near->send(far->address(), dvk::as_bytes("fits"), patience));
  EXPECT_EQ(must(far->receive(patience)).text(), "fits");
}

TEST_P(Messages, KeepTheirOrderBeyondTheWindow) {
  constexpr std::uint64_t count = 5000;
  LoadThreads threads;
  threads.start("sender", [&] {
    for (std::uint64_t number = 0; number < count; ++number) {
      dvk::Bytes payload(sizeof number + number % 3000);
      std::memcpy(payload.data(), &number, sizeof number);
      must(near->send(far->address(), payload, patience), "send");
    }
    must(near->flush(far->address(), patience), "flush");
  });
  for (std::uint64_t expected = 0; expected < count && !threads.has_failed(); ++expected) {
    const Incoming incoming = must(far->receive(patience), "receive");
    ASSERT_EQ(incoming.payload.size(), sizeof expected + expected % 3000);
    std::uint64_t number = 0;
    std::memcpy(&number, incoming.payload.data(), sizeof number);
    ASSERT_EQ(number, expected);
  }
  threads.join();
  EXPECT_EQ(far->receive(dvk::Deadline::now()).error(), Errc::would_block);
}

TEST_P(Messages, CallsAreAnswered) {
  Server server(*far, echo);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, dvk::max_message_bytes}) {
    const auto reply = must(near->call(far->address(), make_pattern(size, size), patience), "call");
    EXPECT_EQ(reply, make_pattern(size, size));
  }
}

TEST_P(Messages, ManyCallsAreUnderWayAtOnceAndEndInAnyOrder) {
  // The server answers in the opposite order of arrival.
  std::vector<dvk::Request> waiting;
  constexpr std::size_t count = 100;
  Server server(*far, [&](Endpoint& endpoint, const dvk::Request& request) {
    waiting.push_back(request);
    if (waiting.size() < count) return;
    for (; !waiting.empty(); waiting.pop_back()) echo(endpoint, waiting.back());
  });
  std::vector<dvk::CallId> calls;
  for (std::size_t i = 0; i < count; ++i) {
    calls.push_back(must(near->start_call(far->address(), make_pattern(i, i)), "start_call"));
  }
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(must(near->finish_call(calls[i], patience), "finish_call"), make_pattern(i, i));
  }
}

TEST_P(Messages, ADeadlineEndsACallAndTheRequestIsTakenBack) {
  const auto call = near->call(far->address(), dvk::as_bytes("nobody serves this"), 50ms);
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error(), Errc::deadline);
  // What follows comes; what nobody took is not there any more. (Across nodes the two may arrive
  // apart, so that a receiver can be quicker than the caller's change of mind.)
  must(near->send(far->address(), dvk::as_bytes("next"), patience));
  Incoming incoming = must(far->receive(patience));
  if (GetParam() == 2 && incoming.kind == Incoming::Kind::request) {
    incoming = must(far->receive(patience));
  }
  EXPECT_EQ(incoming.text(), "next");
}

TEST_P(Messages, ADeadlineOfFinishCallLeavesTheCallUnderWay) {
  const auto call = must(near->start_call(far->address(), dvk::as_bytes("later")));
  EXPECT_EQ(near->finish_call(call, 20ms).error(), Errc::deadline);
  const auto request = must(far->receive_request(patience));
  EXPECT_EQ(near->finish_call(call, dvk::Deadline::now()).error(), Errc::would_block);
  must(far->reply(request, dvk::as_bytes("now")));
  EXPECT_EQ(dvk::as_text(must(near->finish_call(call, patience))), "now");
  EXPECT_EQ(near->finish_call(call, patience).error(), Errc::invalid_argument);
}

TEST_P(Messages, ACancelledCallIsTakenBack) {
  const auto call = must(near->start_call(far->address(), dvk::as_bytes("unwanted")));
  near->cancel_call(call);
  EXPECT_EQ(near->finish_call(call, patience).error(), Errc::invalid_argument);
  const auto served = must(near->start_call(far->address(), dvk::as_bytes("wanted")));
  auto request = must(far->receive_request(patience));
  if (request.text() == "unwanted") {
    // Taken before the cancellation came: then it is the server's, and its reply nobody's.
    must(far->reply(request, {}));
    request = must(far->receive_request(patience));
  }
  EXPECT_EQ(request.text(), "wanted");
  must(far->reply(request, {}));
  must(near->finish_call(served, patience));
}

TEST_P(Messages, AnAnswerToACancelledCallIsDropped) {
  const auto call = must(near->start_call(far->address(), dvk::as_bytes("slow")));
  const auto request = must(far->receive_request(patience));
  near->cancel_call(call);
  must(far->reply(request, dvk::as_bytes("too late")));
  must(far->send(near->address(), dvk::as_bytes("after"), patience));
  EXPECT_EQ(must(near->receive(patience)).text(), "after");
}

TEST_P(Messages, ACancellerEndsABlockingCallFromAnotherThread) {
  const dvk::Canceller canceller = near->canceller();
  const auto blocked = [&](const char* what, auto call) {
    LoadThreads threads;
    threads.start("canceller", [&] {
      std::this_thread::sleep_for(30ms);
      canceller.cancel();
    });
    EXPECT_EQ(call().error(), Errc::cancelled) << what;
  };
  blocked("receive", [&] { return near->receive(patience); });
  blocked("receive_request", [&] { return near->receive_request(patience); });
  blocked("call", [&] { return near->call(far->address(), {}, patience); });
  canceller.cancel();  // before the call: ends the next one
  EXPECT_EQ(near->receive(patience).error(), Errc::cancelled);
  EXPECT_EQ(near->receive(20ms).error(), Errc::deadline);
}

TEST_P(Messages, NotifiesCoalesceAndNoneIsLost) {
  for (int bit = 0; bit < 64; ++bit) {
    must(near->notify(far->address(), std::uint64_t{1} << bit), "notify");
  }
  LoadThreads threads;
  threads.start("sender", [&] { must(near->flush(far->address(), patience), "flush"); });
  std::uint64_t bits = 0;
  int taken = 0;
  while (~bits != 0) {
    const Incoming incoming = must(far->receive(patience), "receive");
    EXPECT_EQ(incoming.kind, Incoming::Kind::notify);
    bits |= incoming.bits;
    ++taken;
  }
  EXPECT_EQ(far->receive(50ms).error(), Errc::deadline);
  threads.join();
  EXPECT_LE(taken, 3);
  EXPECT_EQ(far->receive(dvk::Deadline::now()).error(), Errc::would_block);
}

TEST_P(Messages, ReceiveFromTakesOneSendersOnly) {
  Endpoint third = cluster->open(1);
  must(third.send(far->address(), dvk::as_bytes("of the third"), patience));
  must(near->send(far->address(), dvk::as_bytes("of the first"), patience));
  EXPECT_EQ(must(far->receive_from(near->address(), patience)).text(), "of the first");
  EXPECT_EQ(far->receive_from(near->address(), 50ms).error(), Errc::deadline);
  EXPECT_EQ(must(far->receive(patience)).text(), "of the third");
}

TEST_P(Messages, ReceiveRequestLeavesMessagesWhereTheyAre) {
  must(near->send(far->address(), dvk::as_bytes("message"), patience));
  const auto call = must(near->start_call(far->address(), dvk::as_bytes("request")));
  const auto request = must(far->receive_request(patience));
  EXPECT_EQ(request.text(), "request");
  must(far->reply(request, dvk::as_bytes("reply")));
  EXPECT_EQ(dvk::as_text(must(near->finish_call(call, patience))), "reply");
  EXPECT_EQ(must(far->receive(patience)).text(), "message");
}

TEST_P(Messages, AFullQueuePushesBack) {
  const dvk::Bytes large(dvk::max_message_bytes);
  std::uint64_t sent = 0;
  dvk::Result<void> last;
  // Neither side takes anything: soon neither queue has room.
  while (sent < 1000 && (last = near->send(far->address(), large, dvk::Deadline::now()))) ++sent;
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error(), Errc::queue_full);
  EXPECT_EQ(near->send(far->address(), large, 20ms).error(), Errc::deadline);
  LoadThreads threads;
  threads.start("sender", [&] {
    must(near->send(far->address(), large, patience), "send");
    must(near->flush(far->address(), patience), "flush");
  });
  for (std::uint64_t i = 0; i <= sent; ++i) {
    EXPECT_EQ(must(far->receive(patience), "receive").payload.size(), large.size());
  }
  EXPECT_EQ(far->receive(50ms).error(), Errc::deadline);
  threads.join();
}

TEST_P(Messages, ARepliesWayIsNeverBlockedByAFullQueue) {
  // The server's queue towards the caller is full; its reply must come all the same.
  const auto call = must(near->start_call(far->address(), dvk::as_bytes("question")));
  const auto request = must(far->receive_request(patience));
  const dvk::Bytes large(dvk::max_message_bytes);
  while (far->send(near->address(), large, dvk::Deadline::now())) {
  }
  must(far->reply(request, dvk::as_bytes("answer")));
  EXPECT_EQ(dvk::as_text(must(near->finish_call(call, patience))), "answer");
}

TEST_P(Messages, FlushWaitsUntilThePeersProcessHasAll) {
  must(near->send(far->address(), dvk::as_bytes("first"), patience));
  LoadThreads threads;
  // The other process must be in one of its calls to be served.
  threads.start("receiver", [&] {
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(must(far->receive(patience), "receive").text(), "first");
    EXPECT_EQ(far->receive(200ms).error(), Errc::deadline);
  });
  must(near->flush(far->address(), patience), "flush");
}

TEST_P(Messages, NamesAreFoundAndUnique) {
  const std::string name = "name-" + std::to_string(GetParam());
  EXPECT_EQ(near->lookup(name).error(), Errc::unknown_endpoint);
  std::optional<Endpoint> holder = cluster->open(GetParam(), name);
  EXPECT_EQ(must(near->lookup(name)), holder->address());
  for (const int node : {1, 2}) {
    const auto second = Endpoint::open({.socket = cluster->socket(node), .name = name});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error(), Errc::name_in_use);
  }
  const dvk::Address old = holder->address();
  holder.reset();
  // The name is free once the directory has heard of the end; the new life has an address of its
  // own.
  while (near->lookup(name)) std::this_thread::sleep_for(5ms);
  holder = cluster->open(GetParam(), name);
  EXPECT_NE(holder->address().incarnation, old.incarnation);
  EXPECT_EQ(must(near->lookup(name)), holder->address());
  EXPECT_EQ(near->send(old, {}, patience).error(), Errc::peer_died);
  EXPECT_EQ(near->lookup("").error(), Errc::invalid_argument);
  EXPECT_EQ(near->lookup(std::string(256, 'x')).error(), Errc::invalid_argument);
}

TEST_P(Messages, WhoNeverLivedIsUnknown) {
  dvk::Address nobody = far->address();
  nobody.id = dvs::EndpointId{dvs::raw(nobody.id) + 1'000'000'000};
  nobody.incarnation = dvs::Incarnation{dvs::raw(nobody.incarnation) + 1'000'000'000};
  EXPECT_EQ(near->send(nobody, {}, patience).error(), Errc::unknown_endpoint);
  EXPECT_EQ(near->call(nobody, {}, patience).error(), Errc::unknown_endpoint);
  dvk::Address elsewhere = far->address();
  elsewhere.container = dvs::ContainerId{77};
  EXPECT_EQ(near->send(elsewhere, {}, patience).error(), Errc::invalid_argument);
  EXPECT_EQ(near->send(near->address(), {}, patience).error(), Errc::invalid_argument);
}

TEST_P(Messages, TheEndOfAPeerIsTold) {
  std::optional<Endpoint> third = cluster->open(GetParam());
  const dvk::Address address = third->address();
  must(near->watch(address));
  EXPECT_EQ(near->receive(50ms).error(), Errc::deadline);
  const auto call = must(near->start_call(address, dvk::as_bytes("never answered")));
  must(third->receive_request(patience));
  third.reset();
  EXPECT_EQ(near->finish_call(call, patience).error(), Errc::peer_died);
  const Incoming end = must(near->receive(patience), "receive");
  EXPECT_EQ(end.kind, Incoming::Kind::peer_end);
  EXPECT_EQ(end.from, address);
  EXPECT_EQ(end.reason, Errc::peer_died);
  // Watching one that has ended tells at once.
  must(near->watch(address));
  EXPECT_EQ(must(near->receive(patience)).reason, Errc::peer_died);
  EXPECT_EQ(near->call(address, {}, patience).error(), Errc::peer_died);
  EXPECT_EQ(near->notify(address, 1).error(), Errc::peer_died);
}

TEST_P(Messages, EveryNodeOfTheViewIsKnown) {
  const std::vector<dvk::NodeId> expected = {dvk::NodeId{1}, dvk::NodeId{2}};
  EXPECT_EQ(must(far->nodes()), expected);
  EXPECT_EQ(near->node(), dvk::NodeId{1});
  EXPECT_EQ(dvs::raw(far->node()), GetParam());
}

TEST_P(Messages, ManyEndpointsCallEachOther) {
  Server server(*far, echo);
  LoadThreads threads;
  for (int i = 0; i < 8; ++i) {
    threads.start("caller", [this, i] {
      Endpoint caller = cluster->open(1 + i % 2);
      for (std::uint64_t n = 0; n < 200; ++n) {
        const auto payload = make_pattern(n, static_cast<std::uint64_t>(i));
        if (must(caller.call(far->address(), payload, patience), "call") != payload) {
          throw std::runtime_error("a reply is another call's");
        }
      }
    });
  }
  threads.join();
}

TEST_P(Messages, AProcessThatPollsNowAndThenIsServed) {
  // No call of the receiver ever blocks; news of routes must reach it all the same.
  LoadThreads threads;
  threads.start("caller", [&] {
    must(near->call(far->address(), dvk::as_bytes("anyone there?"), patience), "call");
  });
  const auto end = std::chrono::steady_clock::now() + patience;
  while (std::chrono::steady_clock::now() < end) {
    const auto request = far->receive_request(dvk::Deadline::now());
    if (request) {
      must(far->reply(*request, {}));
      break;
    }
    ASSERT_EQ(request.error(), Errc::would_block);
    std::this_thread::sleep_for(10ms);
  }
  threads.join();
}

}  // namespace
}  // namespace integration
