// Whatever strangers send: it is refused by the documented error, and nobody else notices.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "dvk/link/pki.hpp"
#include "dvk/link/socket.hpp"
#include "dvk/wire/attach_message.hpp"
#include "dvk/wire/frame.hpp"
#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"
#include "integration/peer.hpp"
#include "integration/run_options.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;

class BadInput : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
  }
  void start(ClusterOptions options = {}) { cluster.emplace(std::move(options)); }

  // A TCP connection to the link port of a node, from its own network.
  int connect_to_link(int node) {
    int connection = -1;
    std::thread([&] {
      if (setns(cluster->network().namespace_of(node), CLONE_NEWNET) != 0) return;
      connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(7400);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        close(std::exchange(connection, -1));
      }
    }).join();
    if (connection < 0) throw std::runtime_error("cannot connect to the link port");
    return connection;
  }
  int connect_to_attach(int node) {
    const int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    cluster->socket(node).copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot connect to the attach socket");
    }
    return connection;
  }
  // Sends it and waits until the other side has closed.
  static void send_and_await_close(int connection, dvs::BytesView bytes) {
    if (!bytes.empty()) {
      EXPECT_GE(send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    }
    timeval limit{.tv_sec = 30, .tv_usec = 0};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char buffer[4096];
    ssize_t count = 0;
    while ((count = recv(connection, buffer, sizeof buffer, 0)) > 0) {
    }
    EXPECT_TRUE(count == 0 || errno == ECONNRESET) << "the connection was not closed";
    close(connection);
  }
  void expect_healthy() {
    Endpoint near = cluster->open(1);
    for (const int node : {1, 2}) {
      Endpoint far = cluster->open(node);
      must(near.send(far.address(), dvk::as_bytes("all is well"), patience), "send");
      EXPECT_EQ(must(far.receive(patience), "receive").text(), "all is well");
    }
  }
  dvs::Bytes random_bytes(std::size_t count) {
    dvs::Bytes bytes(count);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
  }
  // Node 2 with other certificates: the links do not come up, and a log says why.
  void restart_with_certificates(const std::function<void()>& issue) {
    cluster->stop_daemon(2);
    issue();
    cluster->start_daemon(2);
  }

  std::optional<Cluster> cluster;
  std::mt19937_64 random{run_options().seed};
};

// --- Certificates --------------------------------------------------------------------------------

TEST_F(BadInput, AnotherClustersCertificate) {
  start();
  restart_with_certificates([&] {
    const auto other = cluster->directory() / "other-authority";
    cluster->pki({"init", "--dir", other, "--cluster", "other"});
    cluster->pki({"issue", "--dir", other, "--node", "2", "--out", cluster->certificates(2)});
  });
  EXPECT_TRUE(cluster->await_log(1, "wrong_cluster")) << cluster->log(1);
  Endpoint near = cluster->open(1);
  Endpoint neighbour = cluster->open(1);
  must(near.send(neighbour.address(), dvk::as_bytes("the node serves on"), patience), "send");
  EXPECT_EQ(must(neighbour.receive(patience)).text(), "the node serves on");
}

TEST_F(BadInput, AnExpiredCertificate) {
  start();
  restart_with_certificates([&] {
    const auto now = std::chrono::system_clock::now();
    must(dvk::link::issue_node(cluster->certificates(2), cluster->authority(), dvs::NodeId{2},
                               {.from = now - 48h, .until = now - 24h}),
         "issue");
  });
  EXPECT_TRUE(cluster->await_log(1, "certificate_expired")) << cluster->log(1) << cluster->log(2);
}

TEST_F(BadInput, ACertificateOfAnotherNode) {
  start({.nodes = 3});
  restart_with_certificates([&] {
    cluster->pki(
        {"issue", "--dir", cluster->authority(), "--node", "3", "--out", cluster->certificates(2)});
  });
  // Its own check, or that of its peers.
  const auto code = cluster->daemon(2).wait(5s);
  EXPECT_TRUE(code || cluster->await_log(1, "certificate_rejected")) << cluster->log(1);
  Endpoint near = cluster->open(1);
  Endpoint far = cluster->open(3);
  must(near.send(far.address(), dvk::as_bytes("we are whom we say"), patience), "send");
  EXPECT_EQ(must(far.receive(patience)).text(), "we are whom we say");
}

// --- The link port -------------------------------------------------------------------------------

TEST_F(BadInput, GarbageOnTheLinkPort) {
  start();
  LoadThreads threads;
  std::atomic<int> calls = 0;
  Peer server(*cluster, 2, "server");
  threads.start("caller", [&] {
    Endpoint caller = cluster->open(1);
    while (!threads.is_stopping()) {
      must(caller.call(server.address(), dvk::as_bytes("allocate 1 1"), patience), "call");
      ++calls;
    }
  });
  for (std::uint64_t round = 0; run_options().wants_more(round, 20); ++round) {
    const int connection = connect_to_link(1);
    if (round % 4 == 0) {
      close(connection);  // says nothing
      continue;
    }
    send_and_await_close(connection, random_bytes(1 + random() % 5000));
  }
  threads.stop();
  threads.join();
  EXPECT_GT(calls, 0);
  EXPECT_EQ(cluster->link_number(1, 2, "reconnects"), 0U) << "the link itself was touched";
  EXPECT_NE(cluster->log(1).find("connection_failed"), std::string::npos);
  expect_healthy();
}

// Without TLS, so that a test can speak the frame protocol itself.
class BadFrames : public BadInput {
 public:
  void SetUp() override {
    BadInput::SetUp();
    if (!IsSkipped()) start({.is_plaintext = true});
  }
  static dvs::Bytes frame(const dvk::wire::FrameHeader& header, dvs::BytesView payload) {
    // Behind the words with which every connection begins.
    const dvk::link::Preface preface{.kind = dvk::link::ConnectionKind::link};
    dvs::Bytes bytes = dvs::to_bytes(std::as_bytes(std::span(&preface, 1)));
    const auto head = std::as_bytes(std::span(&header, 1));
    bytes.insert(bytes.end(), head.begin(), head.end());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }
  static dvk::wire::FrameHeader hello_header() {
    return {.type = dvk::wire::FrameType::hello, .payload_bytes = sizeof(dvk::wire::LinkHello)};
  }
};

TEST_F(BadFrames, OfAnotherVersion) {
  auto header = hello_header();
  header.version = 99;
  const auto hello = dvk::wire::encode_hello({.boot = 1, .nonce = 1, .node = 2});
  send_and_await_close(connect_to_link(1), frame(header, hello));
  EXPECT_TRUE(cluster->await_log(1, "version_mismatch")) << cluster->log(1);
  expect_healthy();
}

TEST_F(BadFrames, OfAnotherCluster) {
  const auto hello =
      dvk::wire::encode_hello({.cluster = {1, 2, 3}, .boot = 1, .nonce = 1, .node = 2});
  send_and_await_close(connect_to_link(1), frame(hello_header(), hello));
  EXPECT_TRUE(cluster->await_log(1, "wrong_cluster")) << cluster->log(1);
  expect_healthy();
}

TEST_F(BadFrames, OfOversizedLength) {
  auto header = hello_header();
  header.payload_bytes = 0xFFFFFFFF;
  send_and_await_close(connect_to_link(1), frame(header, {}));
  EXPECT_TRUE(cluster->await_log(1, "protocol_violation")) << cluster->log(1);
  expect_healthy();
}

TEST_F(BadFrames, OfRandomContents) {
  for (std::uint64_t round = 0; run_options().wants_more(round, 50); ++round) {
    auto header = hello_header();
    dvs::Bytes payload = random_bytes(random() % 300);
    header.payload_bytes = static_cast<std::uint32_t>(payload.size());
    if (round % 2 == 0) header.type = static_cast<dvk::wire::FrameType>(random() % 6);
    const int connection = connect_to_link(1);
    const dvs::Bytes bytes = frame(header, payload);
    EXPECT_GE(send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    shutdown(connection, SHUT_WR);
    send_and_await_close(connection, {});
  }
  expect_healthy();
}

// --- The attach socket ---------------------------------------------------------------------------

TEST_F(BadInput, GarbageOnTheAttachSocket) {
  start();
  Endpoint witness = cluster->open(1, "witness");
  for (std::uint64_t round = 0; run_options().wants_more(round, 100); ++round) {
    const int connection = connect_to_attach(1);
    if (round % 5 == 0) {
      close(connection);
      continue;
    }
    send_and_await_close(connection, random_bytes(1 + random() % 500));
  }
  // A proper hello without the descriptors that belong to it.
  const dvk::wire::ToDaemon hello = dvk::wire::Hello{};
  send_and_await_close(connect_to_attach(1), dvk::wire::encode_variant(hello));
  // One of another version.
  const dvk::wire::ToDaemon other = dvk::wire::Hello{.version = 99};
  send_and_await_close(connect_to_attach(1), dvk::wire::encode_variant(other));
  expect_healthy();
  EXPECT_EQ(must(witness.lookup("witness")), witness.address());
}

TEST_F(BadInput, AttachedProcessesThatNeverServeHarmNobody) {
  start();
  // It stops right after it has attached, with its queue full of what others send.
  Peer server(*cluster, 1, "stopped");
  server.process().signal(SIGSTOP);
  Endpoint sender = cluster->open(2);
  const dvk::Bytes large(dvk::max_message_bytes);
  dvk::Result<void> sent;
  while ((sent = sender.send(server.address(), large, 200ms))) {
  }
  EXPECT_EQ(sent.error(), Errc::deadline);
  expect_healthy();
  server.process().signal(SIGCONT);
  EXPECT_EQ(server.ask("allocate 10 1"), "ok");
}

TEST_F(BadInput, TheNodeItselfIsRefusedItsNonsense) {
  start();
  const std::vector<std::string> wrong = {"--node 0", "--listen nowhere", "--peer 2", "--nonsense"};
  for (const std::string& arguments : wrong) {
    std::vector<std::string> command = {cluster->daemon_program()};
    const auto space = arguments.find(' ');
    command.push_back(arguments.substr(0, space));
    if (space != std::string::npos) command.push_back(arguments.substr(space + 1));
    Child child = must(Child::start({.command = command}), "start");
    EXPECT_EQ(child.wait(patience), 2) << arguments;
  }
  // A second daemon on the same state.
  Child second = must(Child::start({.command = {cluster->daemon_program(), "--config",
                                                cluster->configuration_file(1)},
                                    .network = cluster->network().namespace_of(1)}),
                      "start");
  EXPECT_EQ(second.wait(patience), 1);
  expect_healthy();
}

}  // namespace
}  // namespace integration
