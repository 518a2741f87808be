// Configuration: defaults, every kind of mistake named with its line, the command line on top.
#include "dvk/daemon/config.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "dvk/daemon/dvsd_process.hpp"
#include "dvk/link/pki.hpp"

namespace dvk::daemon {
namespace {

std::string complaint(std::string_view text, const Overrides& overrides = {}) {
  const auto config = parse_config(text, "x.toml", overrides);
  return config ? "no complaint" : config.error().detail;
}

void expect_complaint(std::string_view text, std::string_view part) {
  const std::string said = complaint(text);
  EXPECT_NE(said.find(part), std::string::npos) << "said: " << said << "\nfor: " << text;
}

TEST(Config, NothingSaidGivesALoneNodeWithOneContainer) {
  Overrides overrides;
  overrides.run_dir = "/tmp/r";
  overrides.state_dir = "/tmp/s";
  const auto config = load_config(overrides);
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_FALSE(config->has_links());
  EXPECT_EQ(config->node, NodeId{1});
  ASSERT_EQ(config->containers.size(), 1U);
  EXPECT_EQ(config->containers[0].name, "default");
  EXPECT_EQ(config->containers[0].socket, "/tmp/r/dvk.sock");
}

TEST(Config, EverythingSaidIsTaken) {
  const auto config = parse_config(R"(
node = 3
state_dir = "/s"
run_dir = "/r"
listen = "[::1]:7400"
insecure_plaintext = true
compression = true
endpoints_max = 10
ring_bytes = 131072
log_level = "debug"
cluster = "test"
[timings]
heartbeat_ms = 20
suspect_ms = 100
give_up_ms = 1000
[[peers]]
id = 9
address = "b:2"
[[peers]]
id = 4
address = "a:1"
[[containers]]
id = 7
name = "seven"
mode = "0600"
endpoints_max = 5
bind = [ { uid = 1000, names = "app.*" } ]
talk = [ { from = "app.*", to = "db" } ]
[[containers]]
id = 8
socket = "/x/eight.sock"
)",
                                   "x.toml");
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->node, NodeId{3});
  EXPECT_EQ(config->listen_host, "::1");
  EXPECT_EQ(config->listen_port, 7400);
  EXPECT_TRUE(config->insecure_plaintext && config->is_compressing);
  EXPECT_EQ(config->timings.give_up, std::chrono::milliseconds(1000));
  ASSERT_EQ(config->peers.size(), 2U);
  EXPECT_EQ(config->peers[0].id, NodeId{4});
  EXPECT_EQ(config->peers[0].host, "a");
  ASSERT_EQ(config->containers.size(), 2U);
  EXPECT_EQ(config->containers[0].socket, "/r/dvk-seven.sock");
  EXPECT_EQ(config->containers[0].mode, 0600U);
  ASSERT_EQ(config->containers[0].rules.bind.size(), 1U);
  EXPECT_EQ(config->containers[0].rules.bind[0].uid, 1000U);
  EXPECT_EQ(config->containers[0].rules.talk.at(0).to, "db");
  EXPECT_EQ(config->containers[1].socket, "/x/eight.sock");
}

TEST(Config, MistakesNameTheirLine) {
  expect_complaint("node = 1\nnod = 2\n", "x.toml:2: unknown key \"nod\"");
  expect_complaint("[timings]\nheartbeat = 5\n", "x.toml:2: unknown key \"timings.heartbeat\"");
  expect_complaint("node = 0\n", "x.toml:1: \"node\" must be a whole number from 1 to 65535");
  expect_complaint("node = 65536\n", "x.toml:1");
  expect_complaint("node = \"1\"\n", "x.toml:1");
  expect_complaint("\nnode = = 1\n", "x.toml:2");
  expect_complaint("compression = 1\n", "true or false");
  expect_complaint("listen = \"localhost\"\n", "no \":PORT\"");
  expect_complaint("listen = \"::1:80\"\n", "in brackets");
  expect_complaint("listen = \"h:70000\"\n", "no valid port");
  expect_complaint("ring_bytes = 131073\n", "power of two");
  expect_complaint("log_level = \"loud\"\n", "must be one of");
  expect_complaint("[timings]\nheartbeat_ms = 600\n", "heartbeat_ms < suspect_ms < give_up_ms");
  expect_complaint("[[containers]]\nname = \"a\"\n", "\"containers.id\" is missing");
  expect_complaint("[[containers]]\nid = 1\nmode = \"9\"\n", "x.toml:3: \"containers.mode\"");
  expect_complaint("[[containers]]\nid = 1\nbind = [ { uid = 0 } ]\n", "names\" is missing");
  expect_complaint("containers = 5\n", "list of tables");
  expect_complaint("[certificate]\nauthority = \"a\"\n", "[certificate] needs");
}

TEST(Config, WhatMakesNoSenseAsAWholeIsRefused) {
  expect_complaint("[[containers]]\nid = 1\n[[containers]]\nid = 1\nname = \"b\"\n",
                   "two containers have the id 1");
  expect_complaint("[[containers]]\nid = 1\nname = \"b\"\n[[containers]]\nid = 2\nname = \"b\"\n",
                   "share the socket");
  expect_complaint("[[containers]]\nid = 1\nname = \"a/b\"\n", "\"/\"");
  expect_complaint("[[peers]]\nid = 2\naddress = \"h:1\"\n", "no \"listen\"");
  expect_complaint("listen = \"h:1\"\n", "links need certificates");
  const std::string plain = "listen = \"h:1\"\ninsecure_plaintext = true\n";
  EXPECT_EQ(complaint(plain), "no complaint");
  expect_complaint(plain + "[[peers]]\nid = 1\naddress = \"h:1\"\n", "this node's own");
  expect_complaint(
      plain + "[[peers]]\nid = 2\naddress = \"h:1\"\n[[peers]]\nid = 2\naddress = \"h:2\"\n",
      "given twice");
  expect_complaint(plain + "[[peers]]\nid = 2\naddress = \"h:0\"\n", "port other than 0");
  expect_complaint(plain + "[certificate]\ndirectory = \"/c\"\n", "exclude each other");
}

TEST(Config, TheCommandLineWins) {
  Overrides overrides;
  overrides.node = 5;
  overrides.listen = "127.0.0.1:0";
  overrides.peers = {"6=h:1", "7=[::1]:2"};
  overrides.insecure_plaintext = true;
  overrides.log_level = "warn";
  const auto config = parse_config(
      "node = 1\nlog_level = \"debug\"\n[[peers]]\nid = 2\n"
      "address = \"old:1\"\n",
      "x.toml", overrides);
  ASSERT_TRUE(config) << config.error().detail;
  EXPECT_EQ(config->node, NodeId{5});
  EXPECT_EQ(config->log_level, "warn");
  ASSERT_EQ(config->peers.size(), 2U);
  EXPECT_EQ(config->peers[1].host, "::1");
  for (const char* wrong : {"6", "6=h", "0=h:1", "x=h:1", "6=h:0", "=h:1"}) {
    overrides.peers = {wrong};
    EXPECT_NE(complaint("", overrides).find("--peer"), std::string::npos) << wrong;
  }
}

TEST(Config, AFileThatIsNotThereIsSaidSo) {
  Overrides overrides;
  overrides.config_file = "/no/such/file.toml";
  const auto config = load_config(overrides);
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().detail.find("/no/such/file.toml"), std::string::npos);
}

TEST(Config, TheExampleFileIsRightAsItIsAndWithItsExamples) {
  std::ifstream file(DVSD_EXAMPLE_CONFIG);
  std::string line, plain, full;
  while (std::getline(file, line)) {
    plain += line + "\n";
    // An example is a "#" directly before a key or a table; prose has a blank behind it.
    const bool is_example = line.size() > 1 && line[0] == '#' && line[1] != ' ';
    full += (is_example ? line.substr(1) : line) + "\n";
  }
  ASSERT_FALSE(plain.empty());
  EXPECT_EQ(complaint(plain), "no complaint");
  EXPECT_EQ(complaint(full), "no complaint");
}

TEST(Config, WithoutCertificatesTheClusterIsMadeFromItsName) {
  Config one, other;
  one.cluster = "one";
  other.cluster = "other";
  EXPECT_EQ(*cluster_id_of(one), *cluster_id_of(one));
  EXPECT_NE(*cluster_id_of(one), *cluster_id_of(other));
}

TEST(Config, TheClusterMustBeTheOneOfTheCertificates) {
  const test::TemporaryDirectory directory;
  const auto id = link::create_authority(directory.path(), "test");
  ASSERT_TRUE(id);
  Config config;
  const auto files = link::NodeFiles::in(directory.path());
  config.certificate = CertificateFiles{files.authority, files.certificate, files.key};
  EXPECT_EQ(cluster_id_of(config), *id);
  config.cluster = link::to_text(*id);
  EXPECT_EQ(cluster_id_of(config), *id);
  config.cluster = "something else";
  EXPECT_FALSE(cluster_id_of(config));
}

}  // namespace
}  // namespace dvk::daemon
