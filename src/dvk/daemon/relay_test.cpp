// Two real daemons on the loopback interface, with certificates: what one node's endpoint sends
// arrives at the other's, across broken links and restarts.
#include <csignal>
#include <fstream>

#include <gtest/gtest.h>

#include "dvk/daemon/dvsd_process.hpp"
#include "dvk/daemon/raw_client.hpp"

namespace dvk::daemon::test {
namespace {

using dvs::Address;
using dvs::Bytes;
using dvs::Errc;

class TwoNodes : public testing::Test {
 protected:
  void SetUp() override {
    const std::string pki = directory_.path() / "pki";
    ASSERT_EQ(run_dvsd({"pki", "init", "--dir", pki, "--cluster", "test"}).exit_code, 0);
    for (int node = 1; node <= 2; ++node) {
      const Outcome issued =
          run_dvsd({"pki", "issue", "--dir", pki, "--node", std::to_string(node)});
      ASSERT_EQ(issued.exit_code, 0) << issued.output;
      ports_[node - 1] = free_port();
    }
    start(1);
    start(2);
    for (const auto& node : nodes_) {
      ASSERT_TRUE(node->wait_for_status(R"("lane":"message","state":"up")")) << node->log();
      ASSERT_TRUE(node->wait_for_status(R"("lane":"bulk","state":"up")")) << node->log();
    }
  }

  void start(int node) {
    const std::string number = std::to_string(node), other = std::to_string(3 - node);
    const auto config = directory_.path() / (number + ".toml");
    std::ofstream(config)
        << "node = " << number << "\nlisten = \"127.0.0.1:" << ports_[node - 1]
        << "\"\n[certificate]\ndirectory = \""
        << (directory_.path() / "pki" / ("node-" + number)).string()
        << "\"\n[timings]\nheartbeat_ms = 50\nsuspect_ms = 300\ngive_up_ms = 2000\n"
        << "[[peers]]\nid = " << other << "\naddress = \"127.0.0.1:" << ports_[2 - node] << "\"\n";
    auto started = DvsdProcess::start(directory_.path() / number, {"--config", config.string()});
    ASSERT_TRUE(started) << started.error().detail;
    nodes_[node - 1] = std::move(*started);
  }

  RawClient attach(int node, const std::string& name = {}) {
    wire::Hello hello;
    hello.name = name;
    auto client = RawClient::attach(nodes_[node - 1]->socket(), hello);
    EXPECT_TRUE(client) << dvs::to_string(client.error()) << nodes_[node - 1]->log();
    return std::move(*client);
  }

  // What is sent by the one arrives at the other, as it was and from whom it was.
  void exchange(RawClient& from, RawClient& to, std::uint64_t sequence, std::size_t bytes) {
    Bytes payload(bytes, static_cast<std::byte>(sequence));
    const auto header = message_header(from.address, to.address, sequence, bytes);
    ASSERT_TRUE(from.send(header, payload));
    const auto arrived = to.receive();
    ASSERT_TRUE(arrived) << dvs::to_string(arrived.error()) << nodes_[0]->log() << nodes_[1]->log();
    EXPECT_EQ(arrived->first.source(), from.address);
    EXPECT_EQ(arrived->first.sequence, sequence);
    EXPECT_EQ(arrived->second, payload);
  }

  TemporaryDirectory directory_;
  std::uint16_t ports_[2] = {};
  std::unique_ptr<DvsdProcess> nodes_[2];
};

TEST_F(TwoNodes, RelayPacketsOfEverySizeBothWays) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  std::uint64_t sequence = 0;
  for (const std::size_t bytes : {0, 1, 64, 4000, 65536}) {
    exchange(one, two, ++sequence, bytes);
    exchange(two, one, sequence, bytes);
  }
}

TEST_F(TwoNodes, StampTheSenderWhateverItClaims) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  auto header = message_header({dvs::ContainerId{9}, dvs::EndpointId{9}, dvs::Incarnation{9}},
                               two.address, 1, 0);
  ASSERT_TRUE(one.send(header, {}));
  const auto arrived = two.receive();
  ASSERT_TRUE(arrived);
  EXPECT_EQ(arrived->first.source(), one.address);
}

TEST_F(TwoNodes, KnowEachOthersNames) {
  auto server = attach(2, "server");
  auto client = attach(1);
  ASSERT_TRUE(client.say(wire::NameQuery{1, "server"}));
  const auto found = client.hear_one<wire::NameResult>();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->error, Errc{});
  EXPECT_EQ(found->address, server.address);
  wire::Hello hello;
  hello.name = "server";
  EXPECT_EQ(RawClient::attach(nodes_[0]->socket(), hello).error(), Errc::name_in_use);
  ASSERT_TRUE(client.say(wire::NodesQuery{2}));
  EXPECT_EQ(client.hear_one<wire::NodesResult>()->nodes.size(), 2U);
}

TEST_F(TwoNodes, TellTheEndOfAnEndpoint) {
  auto one = attach(1);
  auto two = std::make_unique<RawClient>(attach(2));
  ASSERT_TRUE(one.route_to(two->address, wire::RouteKind::relay));
  two.reset();
  for (;;) {
    const auto route = one.hear_one<wire::Route>();
    ASSERT_TRUE(route);
    if (route->kind != wire::RouteKind::gone) continue;
    EXPECT_EQ(route->error, Errc::peer_died);
    break;
  }
}

TEST_F(TwoNodes, GoOnAfterTheConnectionBroke) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  for (std::uint64_t sequence = 1; sequence <= 10; ++sequence) {
    exchange(one, two, sequence, 1000);
    EXPECT_EQ(nodes_[sequence % 2]->ask("cut " + std::to_string(2 - sequence % 2)),
              "{\"ok\":true,\"was_connected\":true}\n");
    // What is sent while the link is away waits for it.
    exchange(one, two, 100 + sequence, 1000);
    ASSERT_TRUE(nodes_[0]->wait_for_status(R"("lane":"message","state":"up")"));
    ASSERT_TRUE(nodes_[1]->wait_for_status(R"("lane":"message","state":"up")"));
    ASSERT_TRUE(nodes_[0]->wait_for_status(R"("lane":"bulk","state":"up")"));
    ASSERT_TRUE(nodes_[1]->wait_for_status(R"("lane":"bulk","state":"up")"));
  }
}

TEST_F(TwoNodes, NoticeThatTheOtherDied) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  nodes_[1]->end(SIGKILL);
  start(2);
  for (;;) {
    const auto route = one.hear_one<wire::Route>();
    ASSERT_TRUE(route) << dvs::to_string(route.error());
    if (route->kind != wire::RouteKind::gone) continue;
    EXPECT_EQ(route->error, Errc::peer_died);
    break;
  }
  // The new life of the node is reached like the old one.
  auto reborn = attach(2);
  ASSERT_TRUE(one.route_to(reborn.address, wire::RouteKind::relay));
  exchange(one, reborn, 1, 100);
}

TEST_F(TwoNodes, GiveUpALinkThatStaysSilent) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  ::kill(nodes_[1]->pid(), SIGSTOP);
  for (;;) {
    const auto route = one.hear_one<wire::Route>();
    ASSERT_TRUE(route) << dvs::to_string(route.error());
    if (route->kind != wire::RouteKind::gone) continue;
    EXPECT_EQ(route->error, Errc::unreachable);
    break;
  }
  // Asked while the link is down: told at once, not left waiting.
  EXPECT_EQ(one.route_to(two.address, wire::RouteKind::relay).error(), Errc::unreachable);
  ::kill(nodes_[1]->pid(), SIGCONT);
  ASSERT_TRUE(nodes_[0]->wait_for_status(R"("lane":"message","state":"up")"));
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  exchange(one, two, 1, 100);
}

TEST_F(TwoNodes, CopyMemoryFromOneToTheOther) {
  auto one = attach(1), two = attach(2);
  ASSERT_TRUE(one.route_to(two.address, wire::RouteKind::relay));
  ASSERT_TRUE(two.route_to(one.address, wire::RouteKind::relay));
  const std::size_t size = 20'000'000;
  Bytes source(size), target(size);
  for (std::size_t i = 0; i < size; ++i) source[i] = static_cast<std::byte>(i * 31 >> 3);
  const auto grant = two.grants.give(reinterpret_cast<std::uint64_t>(source.data()), size,
                                     grant::Access::read_write, one.address);
  wire::CopyOrder order{.source = two.address, .target = one.address};
  order.source_grant = *grant;
  order.target_offset = reinterpret_cast<std::uint64_t>(target.data());
  order.bytes = size;
  wire::PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  const auto run = [&] {
    ++header.token;
    EXPECT_TRUE(one.send(header, wire::encode_fields(order)));
    const auto result = one.receive();
    EXPECT_TRUE(result) << nodes_[0]->log() << nodes_[1]->log();
    EXPECT_EQ(result->first.token, header.token);
    return wire::decode_fields<wire::CopyOutcome>(result->second)->error;
  };
  EXPECT_EQ(run(), Errc{});
  EXPECT_TRUE(source == target);
  // And back.
  target.assign(size, std::byte{5});
  std::swap(order.source, order.target);
  std::swap(order.source_grant, order.target_grant);
  std::swap(order.source_offset, order.target_offset);
  EXPECT_EQ(run(), Errc{});
  EXPECT_TRUE(source == target);
}

}  // namespace
}  // namespace dvk::daemon::test
