// Who may bind which name, who may talk to whom, and that containers never meet.
#include <gtest/gtest.h>

#include "integration/cluster.hpp"
#include "integration/peer.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Errc;

constexpr char configuration[] = R"(
[[containers]]
id = 1
name = "open"
socket = "{run}/dvk.sock"
mode = "0666"
[[containers]]
id = 2
name = "ruled"
socket = "{run}/ruled.sock"
mode = "0666"
bind = [{uid = 0, names = "*"}, {uid = 12345, names = "guest-*"}]
talk = [{from = "guest-*", to = "public-*"}, {from = "admin", to = "*"}]
[[containers]]
id = 3
name = "private"
socket = "{run}/private.sock"
mode = "0600"
)";
constexpr uid_t guest_uid = 12345;

class Privileges : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace(ClusterOptions{.configuration = configuration});
  }
  // In the container with rules.
  dvk::Result<Endpoint> open(int node, const std::string& name) {
    return Endpoint::open({.socket = cluster->socket(node, "ruled.sock"), .name = name});
  }
  Child guest(const std::string& name) {
    return Peer::start(cluster->socket(1, "ruled.sock"), {"obey", name}, guest_uid,
                       cluster->directory() / "guest.log");
  }
  std::string ask(Endpoint& admin, const dvk::Address& guest_address, const std::string& command) {
    return std::string(
        dvk::as_text(must(admin.call(guest_address, dvk::as_bytes(command), patience), "ask")));
  }
  std::optional<Cluster> cluster;
};

TEST_F(Privileges, NamesAreBoundByWhomTheRulesAllow) {
  Child wrong = guest("not-for-guests");
  EXPECT_EQ(wrong.wait(patience), 1);  // the reason is in its output
  Endpoint admin = must(open(1, "admin"));
  Child right = guest("guest-1");
  await_name(admin, "guest-1");
  EXPECT_TRUE(right.is_running());
}

TEST_F(Privileges, EndpointsTalkAsTheRulesAllow) {
  for (const int node : {1, 2}) {
    SCOPED_TRACE(node);
    Endpoint admin = must(open(1, "admin"));
    Endpoint open_to_all = must(open(node, "public-1"));
    Endpoint hidden = must(open(node, "hidden"));
    Child process = guest("guest-1");
    const dvk::Address guest_address = await_name(admin, "guest-1");
    EXPECT_EQ(ask(admin, guest_address, "send_to public-1 hello"), "ok");
    EXPECT_EQ(must(open_to_all.receive(patience)).text(), "hello");
    EXPECT_EQ(ask(admin, guest_address, "send_to hidden hello"), "not_permitted");
    EXPECT_EQ(ask(admin, guest_address, "call hidden hello"), "not_permitted");
    EXPECT_EQ(hidden.receive(50ms).error(), Errc::deadline);
    // Nor the other way round, nor between two that no rule names.
    EXPECT_EQ(hidden.send(guest_address, {}, patience).error(), Errc::not_permitted);
    EXPECT_EQ(hidden.send(open_to_all.address(), {}, patience).error(), Errc::not_permitted);
    must(admin.send(hidden.address(), dvk::as_bytes("of the admin"), patience));
    EXPECT_EQ(must(hidden.receive(patience)).text(), "of the admin");
    process.kill();
    while (admin.lookup("guest-1")) usleep(5000);
  }
}

TEST_F(Privileges, ContainersNeverMeet) {
  Endpoint first = cluster->open(1, "same-name");
  Endpoint second = must(open(1, "same-name"));  // no conflict: another container
  Endpoint distant = must(open(2, ""));
  EXPECT_EQ(must(first.lookup("same-name")), first.address());
  EXPECT_EQ(must(distant.lookup("same-name")), second.address());
  EXPECT_EQ(first.send(second.address(), {}, patience).error(), Errc::invalid_argument);
  EXPECT_EQ(first.call(distant.address(), {}, patience).error(), Errc::invalid_argument);
  // An address forged to look like one of the own container leads nowhere.
  dvk::Address forged = second.address();
  forged.container = first.address().container;
  // (That life number was given, but lives nowhere in this container.)
  EXPECT_EQ(first.send(forged, {}, patience).error(), Errc::peer_died);
  EXPECT_EQ(first.notify(second.address(), 1).error(), Errc::invalid_argument);
  dvk::Bytes memory(16);
  EXPECT_FALSE(first.copy_from({forged, dvk::GrantId{1}, 0}, memory, patience));
  EXPECT_EQ(second.receive(50ms).error(), Errc::deadline);
}

TEST_F(Privileges, TheModeOfTheSocketKeepsUsersOut) {
  Child outsider = Peer::start(cluster->socket(1, "private.sock"), {"obey", "x"}, guest_uid,
                               cluster->directory() / "outsider.log");
  EXPECT_EQ(outsider.wait(patience), 1);
  EXPECT_TRUE(Endpoint::open({.socket = cluster->socket(1, "private.sock")}));
}

}  // namespace
}  // namespace integration
