#include "api/server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <thread>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "api/test_source.hpp"
#include "runtime/fd.hpp"
#include "runtime/temporary_directory.hpp"

namespace dvs::api {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Far above what anything takes, even on a busy machine.
constexpr auto patience = 20s;

// A client that says exactly what it is told to.
class RawClient {
 public:
  explicit RawClient(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }

  // False: the server has closed.
  bool say(const std::string& text) const {
    return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  // All that comes until `end` has come, or the server closes.
  std::string hear(const std::string& end = "\x01") const {
    std::string text;
    char buffer[4096];
    while (text.find(end) == std::string::npos) {
      pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&entry, 1, std::chrono::milliseconds(patience).count()) != 1) {
        ADD_FAILURE() << "nothing comes after: " << text;
        break;
      }
      const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
      if (got <= 0) break;
      text.append(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  runtime::Fd socket_;
};

std::string request(const std::string& line, const std::string& body = {},
                    const std::string& more = "Connection: close\r\n") {
  return line + " HTTP/1.1\r\nHost: dvsd\r\n" + more +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// A server on a loop of its own, as the daemon has it.
class ApiServer : public testing::Test {
 protected:
  void start(ServerLimits limits = {}) {
    auto server = Server::create(io_, path(), source_, events_, limits);
    ASSERT_TRUE(server) << to_string(server.error());
    server_ = *std::move(server);
    server_->start();
    thread_ = std::thread([this] { io_.run(); });
  }
  void TearDown() override {
    if (thread_.joinable()) stop();
  }
  void stop() {
    std::promise<void> stopped;
    asio::co_spawn(io_, server_->stop(), [&](const std::exception_ptr&) { stopped.set_value(); });
    EXPECT_EQ(stopped.get_future().wait_for(patience), std::future_status::ready);
    work_.reset();
    thread_.join();
    server_.reset();
  }
  std::string path() const { return directory_.path() / "api.sock"; }
  std::string ask(const std::string& text) const {
    const RawClient client(path());
    EXPECT_TRUE(client.say(text));
    return client.hear();
  }
  void append(const std::string& event) {
    asio::post(io_, [this, event] { events_.append(event, std::chrono::system_clock::now()); });
  }
  std::size_t connections() {
    std::promise<std::size_t> count;
    asio::post(io_, [&] { count.set_value(server_->connections()); });
    return count.get_future().get();
  }
  bool await_connections(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (connections() != count) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(1ms);
    }
    return true;
  }

  dvs::runtime::TemporaryDirectory directory_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  test::TestSource source_;
  EventLog events_{7};
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_F(ApiServer, AnswersOneAfterTheOther) {
  start();
  const RawClient client(path());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.say(request("GET /v1/version", {}, "")));
    EXPECT_TRUE(client.hear("}").starts_with("HTTP/1.1 200 OK"));
  }
}

TEST_F(ApiServer, TheSocketIsForItsOwnerOnlyAndGoesWithTheServer) {
  start();
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  stop();
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(ApiServer, ALongPathIsRefused) {
  const auto refused = Server::create(io_, "/tmp/" + std::string(200, 'x'), source_, events_);
  EXPECT_EQ(refused.error().code, Errc::invalid_argument);
}

TEST_F(ApiServer, ASocketLeftBehindIsReplaced) {
  start();
  const std::string left = directory_.path() / "left.sock";
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(Server::create(io_, left, source_, events_));
}

TEST_F(ApiServer, RubbishIsAnsweredAndClosed) {
  start();
  EXPECT_TRUE(ask("rubbish\r\n\r\n").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(ask(request("GET v1")).starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(ask("GET / HTTP/9.9\r\n\r\n").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(ask(request("BREW /v1/node")).starts_with("HTTP/1.1 405"));
  EXPECT_TRUE(ask("GET /v1/events HTTP/1.0\r\n\r\n").find("400") != std::string::npos);
  EXPECT_TRUE(ask(request("GET /v1/version")).starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(await_connections(0));
}

TEST_F(ApiServer, WhatIsTooLargeIsRefused) {
  start({.header_bytes_max = 2000, .body_bytes_max = 1000});
  EXPECT_TRUE(ask(request("POST /v1/dev/cut", std::string(1001, 'x'))).starts_with("HTTP/1.1 413"));
  EXPECT_TRUE(ask(request("GET /v1/node", {}, "X: " + std::string(3000, 'x') + "\r\n"))
                  .starts_with("HTTP/1.1 431"));
  EXPECT_TRUE(ask(request("POST /v1/dev/cut", std::string(1000, 'x'))).starts_with("HTTP/1.1 400"));
  // Nobody needs to have sent a body to be told that it is too large.
  const RawClient client(path());
  ASSERT_TRUE(client.say("POST /v1/stop HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"));
  EXPECT_TRUE(client.hear().starts_with("HTTP/1.1 413"));
}

TEST_F(ApiServer, WhoIsSlowIsClosed) {
  start({.request_time_max = 100ms});
  const RawClient silent(path());
  const RawClient half(path());
  ASSERT_TRUE(half.say("GET /v1/node HTT"));
  EXPECT_EQ(silent.hear(), "");
  EXPECT_EQ(half.hear(), "");
  EXPECT_TRUE(await_connections(0));
}

TEST_F(ApiServer, ConnectionsHaveABound) {
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(std::make_unique<RawClient>(path()));
  ASSERT_TRUE(await_connections(64));
  EXPECT_TRUE(RawClient(path()).hear().starts_with("HTTP/1.1 503"));
  for (const auto& client : clients) {
    ASSERT_TRUE(client->say(request("GET /v1/version")));
    EXPECT_TRUE(client->hear().starts_with("HTTP/1.1 200"));
  }
  ASSERT_TRUE(await_connections(0));
  EXPECT_TRUE(ask(request("GET /v1/version")).starts_with("HTTP/1.1 200"));
}

TEST_F(ApiServer, EventsEndUnlessFollowed) {
  start();
  append("first");
  append("second");
  const std::string all = ask(request("GET /v1/events"));
  EXPECT_NE(all.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_NE(all.find("\"first\""), std::string::npos);
  EXPECT_TRUE(all.ends_with("0\r\n\r\n"));
  const std::string rest = ask(request("GET /v1/events?since=1"));
  EXPECT_EQ(rest.find("\"first\""), std::string::npos);
  EXPECT_NE(rest.find("\"second\""), std::string::npos);
}

TEST_F(ApiServer, FollowersHearWhatComes) {
  start();
  append("first");
  const RawClient follower(path());
  ASSERT_TRUE(follower.say(request("GET /v1/events?follow=true")));
  follower.hear("\"first\"");
  for (const char* event : {"second", "third"}) {
    append(event);
    EXPECT_NE(follower.hear(event).find(event), std::string::npos);
  }
}

TEST_F(ApiServer, AFollowerThatGoesIsForgotten) {
  start();
  {
    const RawClient follower(path());
    ASSERT_TRUE(follower.say(request("GET /v1/events?follow=true")));
    ASSERT_TRUE(await_connections(1));
  }
  EXPECT_TRUE(await_connections(0));
}

TEST_F(ApiServer, AFollowerThatDoesNotReadIsClosed) {
  start({.reply_time_max = 100ms});
  const RawClient follower(path());
  ASSERT_TRUE(follower.say(request("GET /v1/events?follow=true")));
  ASSERT_TRUE(await_connections(1));
  for (int i = 0; i < 2000; ++i) append(std::string(1000, 'x'));
  EXPECT_TRUE(await_connections(0));
}

TEST_F(ApiServer, StoppingEndsEverything) {
  start();
  const RawClient silent(path()), follower(path());
  ASSERT_TRUE(follower.say(request("GET /v1/events?follow=true")));
  ASSERT_TRUE(await_connections(2));
  std::thread stopping([this] { stop(); });
  EXPECT_TRUE(follower.hear().ends_with("0\r\n\r\n")) << "the stream ends in order";
  EXPECT_EQ(silent.hear(), "");
  stopping.join();
}

}  // namespace
}  // namespace dvs::api
