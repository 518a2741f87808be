// The HTTP API of real daemons: what it tells is so, what it does happens, and whoever misuses it
// disturbs nobody.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <thread>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "cli/api_client.hpp"
#include "integration/cluster.hpp"
#include "runtime/fd.hpp"

namespace integration {
namespace {

namespace json = boost::json;
using dvs::cli::ApiClient;
using dvs::cli::HttpClient;

class HttpApi : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster_.emplace();
  }
  ApiClient api(int node) const {
    return ApiClient(HttpClient(cluster_->socket(node, "api.sock")));
  }
  json::value get(int node, const std::string& target) const {
    return must(api(node).get(target), target.c_str());
  }
  // All events so far, one line each.
  std::string events(int node) const {
    std::string text;
    must(api(node).stream("/v1/events", [&](std::string_view line) {
      text += std::string(line) + "\n";
      return true;
    }));
    return text;
  }
  bool await_event(int node, const std::string& part) const {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (events(node).find(part) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(10ms);
    }
    return true;
  }
  dvs::runtime::Fd connect(int node) const {
    dvs::runtime::Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string path = cluster_->socket(node, "api.sock");
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return client;
  }

  std::optional<Cluster> cluster_;
};

TEST_F(HttpApi, TellsWhatIsSo) {
  EXPECT_EQ(get(2, "/v1/node").at("id").to_number<int>(), 2);
  EXPECT_EQ(get(2, "/v1/node").at("pid").to_number<int>(), cluster_->daemon(2).pid());
  EXPECT_EQ(get(1, "/v1/nodes/2").at("state").as_string(), "up");
  EXPECT_EQ(get(1, "/v1/cluster").at("view").at("number").to_number<int>(), 1);
  EXPECT_EQ(get(1, "/v1/cluster").at("id"), get(2, "/v1/cluster").at("id"));
  {
    const dvk::Endpoint endpoint = cluster_->open(1);
    EXPECT_EQ(get(1, "/v1/node").at("endpoints").to_number<int>(), 1);
    EXPECT_TRUE(await_event(1, R"("endpoints":1)"));
  }
  EXPECT_TRUE(await_event(1, R"("endpoints":0)"));
  EXPECT_NE(must(api(1).get_text("/v1/metrics")).find("dvs_link_up{node=\"2\",lane=\"bulk\"} 1\n"),
            std::string::npos);
}

TEST_F(HttpApi, ACutHappensAndIsToldAndHeals) {
  const json::value answer = must(api(1).post("/v1/dev/cut", json::object{{"node", 2}}));
  EXPECT_TRUE(answer.at("was_connected").as_bool());
  EXPECT_TRUE(await_event(1, R"("state":"reconnecting")"));
  cluster_->await_links();
  EXPECT_EQ(api(1).post("/v1/dev/cut", json::object{{"node", 7}}).error().code,
            dvs::Errc::invalid_argument);
}

TEST_F(HttpApi, StopEndsTheDaemonInOrder) {
  EXPECT_TRUE(must(api(2).post("/v1/stop", nullptr)).at("stopping").as_bool());
  EXPECT_EQ(cluster_->daemon(2).wait(patience), 0);
  EXPECT_EQ(api(2).get("/v1/node").error().code, dvs::Errc::unreachable);
}

// Who takes all connections, says rubbish, never reads or goes without a word harms no call.
TEST_F(HttpApi, MisuseDisturbsNobody) {
  dvk::Endpoint server = cluster_->open(2, "server"), client = cluster_->open(1);
  std::jthread serving([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto request = server.receive_request(20ms);
      if (request) must(server.reply(*request, request->payload));
    }
  });
  const dvk::Address address = must(client.lookup("server", patience));
  std::vector<dvs::runtime::Fd> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(connect(1));
  const std::string rubbish(200'000, '\xff');
  const std::string streams = "GET /v1/events?follow=true HTTP/1.1\r\n\r\n";
  for (int round = 0; round < 200; ++round) {
    auto& one = clients[static_cast<std::size_t>(round) % clients.size()];
    const std::string& text = round % 3 == 0 ? rubbish : streams;
    (void)::send(one.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    EXPECT_TRUE(client.call(address, dvk::as_bytes("ping"), patience)) << round;
    if (round % 5 == 0) one = connect(1);
  }
  clients.clear();
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!api(1).get("/v1/version") && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_TRUE(api(1).get("/v1/version"));
}

}  // namespace
}  // namespace integration
