// Bad input: certificates, versions, lengths and rubbish. Each has its documented error, and the
// node goes on serving the others.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "dvk/link/link_test_node.hpp"
#include "dvk/link/socket.hpp"

namespace dvk::link {
namespace {

using dvs::Bytes;
using dvs::Errc;
using dvs::NodeId;
using dvs::runtime::Fd;

constexpr NodeId one{1};
constexpr NodeId two{2};

// --- Certificates ---

class CertificateTest : public ::testing::Test {
 protected:
  // Both sides get to know of it; neither lets the other in.
  void expect_refusal(Errc at_two, NodeId named_at_two, Errc at_one) {
    cluster.start_all();
    ASSERT_TRUE(cluster.run_until([&] {
      return cluster.node(2).failure(at_two, named_at_two) && cluster.node(1).failure(at_one, two);
    })) << describe();
    EXPECT_FALSE(cluster.node(1).is_up(two));
    EXPECT_FALSE(cluster.node(2).is_up(one));
    EXPECT_EQ(cluster.node(2).count(core::LinkEvent::Kind::new_session), 0U);
  }
  std::string describe() {
    std::string text;
    for (unsigned number : {1U, 2U}) {
      for (const auto& [peer, error] : cluster.node(number).failures) {
        text += "at node " + std::to_string(number) + " about " + std::to_string(dvs::raw(peer)) +
                ": " + dvs::to_string(error) + "\n";
      }
    }
    return text;
  }
  // A configuration for node `number` with a certificate of the caller's choice.
  LinkSetConfig with(unsigned number, const std::filesystem::path& issuer, NodeId named,
                     const Validity& validity = Validity::for_days(1)) {
    LinkSetConfig config = cluster.config_for(number);
    const auto home = cluster.path() / "special";
    EXPECT_TRUE(issue_node(home, issuer, named, validity).has_value());
    config.certificate = NodeFiles::in(home);
    return config;
  }

  TestCluster cluster{false};
  std::filesystem::path authority = cluster.path() / "authority";
};

TEST_F(CertificateTest, OfAnotherCluster) {
  // The other authority has the same name; its own node trusts it and would accept anything of it.
  const auto other = create_authority(cluster.path() / "other", "test");
  ASSERT_TRUE(other.has_value());
  LinkSetConfig config = with(1, cluster.path() / "other", one);
  config.cluster = *other;
  cluster.make(1, std::move(config));
  cluster.make(2);
  expect_refusal(Errc::wrong_cluster, dvs::no_node, Errc::wrong_cluster);
}

TEST_F(CertificateTest, OfAnotherClusterShownByADialler) {
  // Node 1 trusts the right authority, but has been given a certificate of the wrong one.
  ASSERT_TRUE(create_authority(cluster.path() / "other", "test").has_value());
  LinkSetConfig config = with(1, cluster.path() / "other", one);
  config.certificate.authority = authority / "authority.pem";
  cluster.make(1, std::move(config));
  cluster.make(2);
  expect_refusal(Errc::wrong_cluster, dvs::no_node, Errc::wrong_cluster);
}

TEST_F(CertificateTest, Expired) {
  Validity past = Validity::for_days(1);
  past.from -= std::chrono::hours(48);
  past.until -= std::chrono::hours(48);
  cluster.make(1, with(1, authority, one, past));
  cluster.make(2);
  expect_refusal(Errc::certificate_expired, dvs::no_node, Errc::certificate_expired);
}

TEST_F(CertificateTest, NotYetValid) {
  Validity future = Validity::for_days(3);
  future.from += std::chrono::hours(48);
  cluster.make(2, with(2, authority, two, future));
  cluster.make(1);
  // TLS has no word for "not yet": node 2 only learns that its certificate is a bad one.
  expect_refusal(Errc::certificate_rejected, dvs::no_node, Errc::certificate_expired);
}

TEST_F(CertificateTest, DiallerIsNotTheNodeItSays) {
  cluster.make(1, with(1, authority, NodeId{3}));
  TestNode& b = cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until([&] {
    return b.failure(Errc::certificate_rejected, one) != nullptr;
  })) << describe();
  EXPECT_FALSE(b.is_up(one));
}

TEST_F(CertificateTest, ListenerIsNotTheNodeThatWasDialled) {
  cluster.make(2, with(2, authority, NodeId{3}));
  TestNode& a = cluster.make(1);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until([&] {
    return a.failure(Errc::certificate_rejected, two) != nullptr;
  })) << describe();
  EXPECT_FALSE(a.is_up(two));
}

TEST_F(CertificateTest, MissingBecauseTheDiallerIsInPlaintext) {
  LinkSetConfig config = cluster.config_for(1);
  config.insecure_plaintext = true;
  cluster.make(1, std::move(config));
  TestNode& b = cluster.make(2);
  cluster.start_all();
  ASSERT_TRUE(cluster.run_until([&] {
    return b.failure(Errc::protocol_violation, dvs::no_node) != nullptr;
  })) << describe();
}

TEST_F(CertificateTest, AnotherClusterThanConfiguredIsFoundAtTheStart) {
  LinkSetConfig config = cluster.config_for(1);
  config.cluster[0] ^= 1;
  TestNode& b = cluster.make(2);
  const auto made = LinkSet::create(cluster.io, std::move(config), b);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, Errc::wrong_cluster);
}

// --- Frames ---

class BadBytesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster.make(1);
    cluster.make(2);
    cluster.start_all();
    ASSERT_TRUE(cluster.run_until_up());
  }

  // Node 2's listener, dialled by a stranger who says these bytes.
  void say(const Bytes& bytes) {
    stranger = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(cluster.node(2).links->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(stranger.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::send(stranger.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  const dvs::Error* run_until_refused(Errc code, NodeId peer) {
    const TestNode& b = cluster.node(2);
    EXPECT_TRUE(cluster.run_until([&] { return b.failure(code, peer) != nullptr; }));
    return b.failure(code, peer);
  }
  void expect_others_served() {
    ASSERT_TRUE(cluster.run_until_up());
    ASSERT_TRUE(cluster.node(1).send(two, Lane::message, "still there?").has_value());
    EXPECT_TRUE(cluster.run_until([&] { return !cluster.node(2).messages.empty(); }));
  }

  template <class T>
  static void append(Bytes& bytes, const T& value) {
    const std::size_t offset = bytes.size();
    bytes.resize(offset + sizeof value);
    std::memcpy(bytes.data() + offset, &value, sizeof value);
  }
  static Bytes preface(ConnectionKind kind = ConnectionKind::link) {
    Bytes bytes;
    Preface first;
    first.kind = kind;
    append(bytes, first);
    return bytes;
  }
  wire::LinkHello hello() const {
    wire::LinkHello hello;
    hello.cluster = cluster.cluster();
    hello.node = 1;
    hello.boot = 999;
    hello.nonce = 12345;
    return hello;
  }
  static void append_hello(Bytes& bytes, const wire::LinkHello& hello) {
    wire::FrameHeader header;
    header.type = wire::FrameType::hello;
    header.payload_bytes = sizeof hello;
    append(bytes, header);
    append(bytes, hello);
  }

  TestCluster cluster{true};
  Fd stranger;
};

TEST_F(BadBytesTest, AnotherVersionOfThePreface) {
  Bytes bytes = preface();
  bytes[3] = std::byte{9};
  say(bytes);
  run_until_refused(Errc::version_mismatch, dvs::no_node);
  expect_others_served();
}

TEST_F(BadBytesTest, AnotherVersionOfTheFrame) {
  Bytes bytes = preface();
  wire::FrameHeader header;
  header.version = 2;
  header.type = wire::FrameType::hello;
  append(bytes, header);
  say(bytes);
  run_until_refused(Errc::version_mismatch, dvs::no_node);
  expect_others_served();
}

TEST_F(BadBytesTest, AnOversizedLengthBeforeTheHello) {
  Bytes bytes = preface();
  wire::FrameHeader header;
  header.type = wire::FrameType::data;
  header.sequence = 1;
  header.payload_bytes = 1U << 30;
  append(bytes, header);
  say(bytes);
  const dvs::Error* error = run_until_refused(Errc::protocol_violation, dvs::no_node);
  ASSERT_NE(error, nullptr);
  EXPECT_NE(error->detail.find("1073741824"), std::string::npos) << error->detail;
  expect_others_served();
}

TEST_F(BadBytesTest, AnOversizedLengthAfterTheHello) {
  Bytes bytes = preface();
  append_hello(bytes, hello());
  wire::FrameHeader header;
  header.type = wire::FrameType::data;
  header.sequence = 1;
  header.payload_bytes = wire::max_frame_payload + 1;
  append(bytes, header);
  say(bytes);
  const dvs::Error* error = run_until_refused(Errc::protocol_violation, one);
  ASSERT_NE(error, nullptr);
  EXPECT_NE(error->detail.find("262145"), std::string::npos) << error->detail;
  expect_others_served();
}

TEST_F(BadBytesTest, ACompressedPayloadThatIsNone) {
  Bytes bytes = preface();
  append_hello(bytes, hello());
  wire::FrameHeader header;
  header.type = wire::FrameType::data;
  header.flags = wire::frame_flag::compressed;
  header.sequence = 1;
  header.payload_bytes = 12;
  append(bytes, header);
  append(bytes, std::uint32_t{1000});
  append(bytes, std::uint64_t{0});
  say(bytes);
  run_until_refused(Errc::protocol_violation, one);
  expect_others_served();
}

TEST_F(BadBytesTest, AnotherCluster) {
  Bytes bytes = preface();
  wire::LinkHello wrong = hello();
  wrong.cluster[5] ^= 1;
  append_hello(bytes, wrong);
  say(bytes);
  run_until_refused(Errc::wrong_cluster, one);
  expect_others_served();
}

TEST_F(BadBytesTest, ANodeNobodyKnows) {
  cluster.stop(1);
  Bytes bytes = preface();
  wire::LinkHello unknown = hello();
  unknown.node = 2;
  append_hello(bytes, unknown);
  say(bytes);
  run_until_refused(Errc::certificate_rejected, two);
}

TEST_F(BadBytesTest, Rubbish) {
  say(Bytes(100, std::byte{'G'}));
  run_until_refused(Errc::protocol_violation, dvs::no_node);
  expect_others_served();
}

TEST_F(BadBytesTest, AClosedConnection) {
  say(preface());
  stranger.close();
  run_until_refused(Errc::unreachable, dvs::no_node);
  expect_others_served();
}

}  // namespace
}  // namespace dvk::link
