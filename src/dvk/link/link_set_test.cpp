// Links between nodes in one process: exchange, order, breaks, restarts, bounds, shutting down.
#include <sys/socket.h>

#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dvk/link/link_test_node.hpp"

namespace dvk::link {
namespace {

using core::LinkEvent;
using core::LinkState;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::NodeId;

constexpr NodeId one{1};
constexpr NodeId two{2};
constexpr NodeId three{3};

// With TLS and without.
class LinkSetTest : public ::testing::TestWithParam<bool> {
 protected:
  TestCluster cluster{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Transports, LinkSetTest, ::testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "Plain" : "Tls"; });

TEST_P(LinkSetTest, TwoNodesExchangeOnAllLanes) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(a.send(two, Lane::message, "early").has_value()) << "waits for the connection";
  ASSERT_TRUE(cluster.run_until_up());
  ASSERT_TRUE(b.send(one, Lane::message, "reply").has_value());
  ASSERT_TRUE(b.send(one, Lane::bulk, std::string(wire::max_frame_payload, 'b')).has_value());
  ASSERT_TRUE(a.send(two, Lane::bulk, "").has_value());
  ASSERT_TRUE(a.send(two, Lane::cluster, "vote").has_value());
  ASSERT_TRUE(cluster.run_until([&] {
    return a.messages.size() == 2 && b.messages[{one, Lane::bulk}].size() == 1 &&
           b.messages[{one, Lane::cluster}].size() == 1;
  }));
  EXPECT_EQ((b.messages[{one, Lane::cluster}]), std::vector<std::string>{"vote"});
  EXPECT_EQ((b.messages[{one, Lane::message}]), std::vector<std::string>{"early"});
  EXPECT_EQ((b.messages[{one, Lane::bulk}]), std::vector<std::string>{""});
  EXPECT_EQ((a.messages[{two, Lane::message}]), std::vector<std::string>{"reply"});
  EXPECT_EQ((a.messages[{two, Lane::bulk}]),
            std::vector<std::string>{std::string(wire::max_frame_payload, 'b')});
  EXPECT_EQ(a.count(LinkEvent::Kind::new_session), lane_count);
  EXPECT_EQ(a.links->peer_boot(two), 102U);
  EXPECT_TRUE(a.failures.empty());
}

TEST_P(LinkSetTest, ThreeNodesAllTalkToEachOther) {
  for (unsigned i = 1; i <= 3; ++i) cluster.make(i);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  for (unsigned from = 1; from <= 3; ++from) {
    for (const NodeId to : {one, two, three}) {
      if (cluster.node(from).id == to) continue;
      const std::string text = std::to_string(from) + ">" + std::to_string(dvs::raw(to));
      ASSERT_TRUE(cluster.node(from).send(to, Lane::message, text).has_value());
    }
  }
  ASSERT_TRUE(cluster.run_until([&] {
    return cluster.node(1).messages.size() == 2 && cluster.node(2).messages.size() == 2 &&
           cluster.node(3).messages.size() == 2;
  }));
  EXPECT_EQ((cluster.node(3).messages[{two, Lane::message}]), std::vector<std::string>{"2>3"});
  EXPECT_EQ((cluster.node(1).messages[{three, Lane::message}]), std::vector<std::string>{"3>1"});
}

// Keeps both lanes of a pair full in one direction and checks what comes out.
class Traffic {
 public:
  Traffic(TestNode& from, TestNode& to) : from_(from), to_(to) {}

  void send_more() {
    for (const Lane lane : all_lanes) {
      for (int i = 0; i < 20 && from_.links->has_room(to_.id, lane); ++i) {
        std::uint64_t& number = sent_[static_cast<std::size_t>(lane)];
        const std::size_t size =
            lane == Lane::message ? 9 + number % 500 : 1000 * (number % 60 + 1);
        Bytes payload = from_.links->take_buffer(size);
        const std::uint64_t next = number + 1;
        std::memcpy(payload.data(), &next, sizeof next);
        payload.back() = std::byte(next);
        if (from_.links->send(to_.id, lane, std::move(payload))) number = next;
      }
    }
  }
  void take(Lane lane, BytesView payload) {
    std::uint64_t number = 0;
    ASSERT_GT(payload.size(), sizeof number);
    std::memcpy(&number, payload.data(), sizeof number);
    ASSERT_EQ(number, ++taken_[static_cast<std::size_t>(lane)]);
    ASSERT_EQ(payload.back(), std::byte(number));
  }
  std::uint64_t taken() const { return taken_[0] + taken_[1]; }
  bool is_complete() const {
    return std::equal(std::begin(sent_), std::end(sent_), std::begin(taken_));
  }

 private:
  TestNode& from_;
  TestNode& to_;
  std::uint64_t sent_[lane_count] = {};
  std::uint64_t taken_[lane_count] = {};
};

TEST_P(LinkSetTest, AHundredCutsUnderTrafficLoseAndDoubleNothing) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  Traffic forth(a, b);
  Traffic back(b, a);
  b.handle_message = [&](NodeId, Lane lane, BytesView payload) { forth.take(lane, payload); };
  a.handle_message = [&](NodeId, Lane lane, BytesView payload) { back.take(lane, payload); };
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  for (unsigned cuts = 0; cuts < 100; ++cuts) {
    const std::uint64_t wanted = forth.taken() + back.taken() + 200;
    ASSERT_TRUE(cluster.run_until([&] {
      forth.send_more();
      back.send_more();
      return a.is_up(two) && b.is_up(one) && forth.taken() + back.taken() >= wanted;
    })) << "after "
        << cuts << " cuts";
    ASSERT_TRUE((cuts % 2 == 0 ? a : b).links->cut(cuts % 2 == 0 ? two : one));
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(cluster.run_until([&] { return forth.is_complete() && back.is_complete(); }));
  EXPECT_EQ(a.count(LinkEvent::Kind::new_session), lane_count)
      << "one per lane: the session went on";
  EXPECT_EQ(b.count(LinkEvent::Kind::new_session), lane_count);
  const auto* statistics = a.links->statistics(two, Lane::message);
  ASSERT_NE(statistics, nullptr);
  EXPECT_EQ(statistics->connections, 101U);
  EXPECT_GT(statistics->replays + b.links->statistics(one, Lane::message)->replays, 0U);
}

TEST_P(LinkSetTest, ARestartedPeerIsANewSession) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  ASSERT_TRUE(a.send(two, Lane::message, "old").has_value());
  ASSERT_TRUE(cluster.run_until([&] { return !b.messages.empty(); }));
  cluster.stop(2);
  ASSERT_TRUE(cluster.run_until([&] { return !a.is_up(two); }));
  ASSERT_TRUE(a.send(two, Lane::message, "lost").has_value());
  a.events.clear();
  TestNode& fresh = cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  ASSERT_TRUE(a.send(two, Lane::message, "new").has_value());
  ASSERT_TRUE(cluster.run_until([&] { return !fresh.messages.empty(); }));
  EXPECT_EQ((fresh.messages[{one, Lane::message}]), std::vector<std::string>{"new"});
  std::uint64_t lost = 0;
  for (const auto& [peer, lane, event] : a.events) {
    if (event.kind != LinkEvent::Kind::new_session) continue;
    EXPECT_EQ(event.cause, core::SessionCause::peer_restarted);
    if (lane == Lane::message) lost = event.lost_frames;
  }
  EXPECT_GE(lost, 1U);
  EXPECT_EQ(a.count(LinkEvent::Kind::new_session), lane_count);
}

TEST_P(LinkSetTest, AFullQueueRefusesAndThenAnnouncesRoom) {
  LinkSetConfig config = cluster.config_for(1);
  config.retained_bytes_max = 2 * wire::max_frame_payload;
  TestNode& a = cluster.make(1, std::move(config));
  TestNode& b = cluster.make(2);
  cluster.start_all();
  unsigned sent = 0;
  while (a.send(two, Lane::bulk, std::string(100'000, 'x'))) ++sent;
  EXPECT_EQ(sent, 5U);
  EXPECT_FALSE(a.links->has_room(two, Lane::bulk));
  EXPECT_EQ(a.send(two, Lane::bulk, std::string(100'000, 'x')).error().code, Errc::queue_full);
  ASSERT_TRUE(cluster.run_until([&] { return a.count(LinkEvent::Kind::room_available) == 1; }));
  ASSERT_TRUE(cluster.run_until([&] { return b.messages[{one, Lane::bulk}].size() == sent; }));
  EXPECT_TRUE(a.links->has_room(two, Lane::bulk));
  EXPECT_EQ(a.send(two, Lane::bulk, std::string(wire::max_frame_payload + 1, 'x')).error().code,
            Errc::message_too_large);
  EXPECT_EQ(a.send(three, Lane::bulk, "x").error().code, Errc::unreachable);
}

TEST_P(LinkSetTest, APeerThatStaysAwayIsGivenUp) {
  LinkSetConfig config = cluster.config_for(1);
  config.timings.give_up_after = std::chrono::milliseconds(300);
  TestNode& a = cluster.make(1, std::move(config));
  cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  cluster.stop(2);
  ASSERT_TRUE(a.send(two, Lane::message, "lost").has_value());
  ASSERT_TRUE(cluster.run_until([&] { return a.links->state(two) == LinkState::down; }));
  EXPECT_EQ(a.events.back().event.state, LinkState::down);
  EXPECT_EQ(a.send(two, Lane::message, "refused").error().code, Errc::unreachable);
  EXPECT_NE(a.failure(Errc::unreachable, two), nullptr);
}

TEST_P(LinkSetTest, WhatIsSentFromWithinABatchLeavesWithIt) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  unsigned pending = 0;
  b.handle_message = [&](NodeId, Lane, BytesView) { ++pending; };
  b.handle_batch_end = [&] {
    for (; pending > 0; --pending) ASSERT_TRUE(b.send(one, Lane::message, "echo").has_value());
  };
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until_up());
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(a.send(two, Lane::message, "call").has_value());
  a.links->flush(two);
  ASSERT_TRUE(cluster.run_until([&] { return a.messages[{two, Lane::message}].size() == 1000; }));
}

TEST_P(LinkSetTest, CompressedPayloadsArriveAsTheyWere) {
  LinkSetConfig config = cluster.config_for(1);
  config.is_compressing = true;
  TestNode& a = cluster.make(1, std::move(config));
  TestNode& b = cluster.make(2);
  cluster.start_all();
  std::string noise(100'000, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<char>(i * i * 2654435761U >> 13);
  const std::vector<std::string> texts = {std::string(200'000, 'a'), "short", noise};
  for (const std::string& text : texts) {
    ASSERT_TRUE(a.send(two, Lane::bulk, text).has_value());
  }
  ASSERT_TRUE(cluster.run_until([&] { return b.messages[{one, Lane::bulk}].size() == 3; }));
  EXPECT_EQ((b.messages[{one, Lane::bulk}]), texts);
  EXPECT_LT(a.links->statistics(two, Lane::bulk)->bytes_sent, 150'000U);
}

TEST_P(LinkSetTest, ExpressConnectionsAreHandedOverWithTheirToken) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  cluster.start_all();
  ExpressToken token{};
  token[0] = std::byte{7};
  token[31] = std::byte{9};
  dvs::runtime::Fd dialled;
  // Any node may dial any other.
  b.links->dial_express(one, token, [&](dvs::runtime::Fd socket) { dialled = std::move(socket); });
  ASSERT_TRUE(cluster.run_until([&] { return dialled && !a.express.empty(); }));
  EXPECT_EQ(a.express[0].second, token);
  ASSERT_EQ(::send(dialled.get(), "hi", 2, 0), 2);
  char text[4] = {};
  ASSERT_TRUE(cluster.run_until(
      [&] { return ::recv(a.express[0].first.get(), text, sizeof text, 0) == 2; }));
  EXPECT_STREQ(text, "hi");
}

TEST_P(LinkSetTest, StopsWhileItDialsInVain) {
  TestNode& a = cluster.make(1);
  // Reserved for documentation (RFC 5737): nobody answers, or nothing leads there.
  ASSERT_TRUE(a.links->add_peer({two, "192.0.2.1", 9}).has_value());
  ASSERT_TRUE(a.links->add_peer({three, "127.0.0.1", 1}).has_value());
  a.links->start();
  a.links->dial_express(two, {}, [](dvs::runtime::Fd) { ADD_FAILURE() << "nobody is there"; });
  ASSERT_TRUE(cluster.run_until([&] { return a.failure(Errc::unreachable, three) != nullptr; }));
  cluster.stop(1);
}

TEST_P(LinkSetTest, StopsUnderTraffic) {
  TestNode& a = cluster.make(1);
  TestNode& b = cluster.make(2);
  Traffic forth(a, b);
  b.handle_message = [&](NodeId, Lane lane, BytesView payload) { forth.take(lane, payload); };
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until([&] {
    forth.send_more();
    return forth.taken() > 500;
  }));
  forth.send_more();
  cluster.stop(2);
  cluster.stop(1);
}

TEST(LinkSetConfig, WhatCannotWorkIsRefused) {
  boost::asio::io_context io(1);
  TestCluster cluster(true);
  struct Nobody final : LinkSetUpper {
    void on_message(NodeId, Lane, BytesView) override {}
    void on_event(NodeId, Lane, const LinkEvent&) override {}
    void on_connection_failed(NodeId, const dvs::Error&) override {}
  } nobody;
  LinkSetConfig config = cluster.config_for(1);
  config.boot = 0;
  EXPECT_EQ(LinkSet::create(io, config, nobody).error().code, Errc::invalid_argument);
  config = cluster.config_for(1);
  config.listen_host = "no address";
  EXPECT_EQ(LinkSet::create(io, config, nobody).error().code, Errc::invalid_argument);
  config = cluster.config_for(1);
  config.peers = {{one, "127.0.0.1", 1}};
  EXPECT_EQ(LinkSet::create(io, config, nobody).error().code, Errc::invalid_argument);
  config = cluster.config_for(1);
  config.insecure_plaintext = false;
  EXPECT_EQ(LinkSet::create(io, config, nobody).error().code, Errc::certificate_rejected);
}

}  // namespace
}  // namespace dvk::link
