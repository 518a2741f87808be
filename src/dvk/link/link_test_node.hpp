// Nodes for tests of links: real sockets on the loopback interface, all on one event loop.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <gtest/gtest.h>

#include "dvk/link/link_set.hpp"

namespace dvk::link {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "link_test.XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A node that writes down what its links tell it.
class TestNode final : public LinkSetUpper {
 public:
  TestNode(boost::asio::io_context& io, LinkSetConfig config) : id(config.self) {
    auto made = LinkSet::create(io, std::move(config), *this);
    EXPECT_TRUE(made.has_value()) << (made ? "" : dvs::to_string(made.error()));
    if (made) links = std::move(*made);
  }

  void on_message(dvs::NodeId from, Lane lane, dvs::BytesView payload) override {
    if (handle_message) return handle_message(from, lane, payload);
    messages[{from, lane}].emplace_back(dvs::as_text(payload));
  }
  void on_event(dvs::NodeId peer, Lane lane, const core::LinkEvent& event) override {
    events.push_back({peer, lane, event});
  }
  void on_connection_failed(dvs::NodeId peer, const dvs::Error& error) override {
    failures.emplace_back(peer, error);
  }
  void on_batch_end() override {
    if (handle_batch_end) handle_batch_end();
  }
  void on_express(dvs::runtime::Fd socket, const ExpressToken& token) override {
    express.emplace_back(std::move(socket), token);
  }

  dvs::Result<void> send(dvs::NodeId to, Lane lane, std::string_view text) {
    return links->send(to, lane, dvs::to_bytes(dvs::as_bytes(text)));
  }
  bool is_up(dvs::NodeId peer) const {
    return links->state(peer, Lane::message) == core::LinkState::up &&
           links->state(peer, Lane::bulk) == core::LinkState::up;
  }
  // The first failure of that kind.
  const dvs::Error* failure(dvs::Errc code, dvs::NodeId peer) const {
    for (const auto& [node, error] : failures) {
      if (error.code == code && node == peer) return &error;
    }
    return nullptr;
  }
  struct Event {
    dvs::NodeId peer;
    Lane lane;
    core::LinkEvent event;
  };
  std::size_t count(core::LinkEvent::Kind kind) const {
    std::size_t number = 0;
    for (const Event& event : events) number += event.event.kind == kind;
    return number;
  }

  dvs::NodeId id;
  std::function<void(dvs::NodeId, Lane, dvs::BytesView)> handle_message;
  std::function<void()> handle_batch_end;
  std::map<std::pair<dvs::NodeId, Lane>, std::vector<std::string>> messages;
  std::vector<Event> events;
  std::vector<std::pair<dvs::NodeId, dvs::Error>> failures;
  std::vector<std::pair<dvs::runtime::Fd, ExpressToken>> express;
  std::unique_ptr<LinkSet> links;
};

// A cluster on one event loop. Nodes are numbered from 1; slot i holds node i + 1.
class TestCluster {
 public:
  explicit TestCluster(bool is_plain) : is_plain_(is_plain) {
    const auto made = create_authority(directory_.path() / "authority", "test");
    EXPECT_TRUE(made.has_value());
    if (made) cluster_ = *made;
  }
  ~TestCluster() {
    // They refer to what the test has on its stack, which is gone by now.
    for (auto& [number, node] : nodes_) {
      node->handle_message = nullptr;
      node->handle_batch_end = nullptr;
    }
    while (!nodes_.empty()) stop(nodes_.begin()->first);
  }

  LinkSetConfig config_for(unsigned number) {
    LinkSetConfig config;
    config.self = dvs::NodeId(static_cast<std::uint16_t>(number));
    config.cluster = cluster_;
    config.boot = ++boots_;
    config.listen_host = "127.0.0.1";
    config.insecure_plaintext = is_plain_;
    if (!is_plain_) {
      const auto home = directory_.path() / ("node" + std::to_string(number));
      EXPECT_TRUE(issue_node(home, directory_.path() / "authority", config.self).has_value());
      config.certificate = NodeFiles::in(home);
    }
    return config;
  }
  // Makes the node, not yet started.
  TestNode& make(unsigned number) { return make(number, config_for(number)); }
  TestNode& make(unsigned number, LinkSetConfig config) {
    auto& slot = nodes_[number];
    slot = std::make_unique<TestNode>(io, std::move(config));
    return *slot;
  }
  // Tells every node of every other and starts those that have not been.
  void start_all() {
    for (auto& [number, node] : nodes_) {
      for (auto& [other_number, other] : nodes_) {
        if (other == node) continue;
        const PeerAddress address{other->id, "127.0.0.1", other->links->port()};
        EXPECT_TRUE(node->links->add_peer(address).has_value());
      }
    }
    for (auto& [number, node] : nodes_) {
      if (std::exchange(started_[number], true)) continue;
      node->links->start();
    }
  }
  void stop(unsigned number) {
    bool is_stopped = false;
    boost::asio::co_spawn(io, nodes_.at(number)->links->stop(),
                          [&](const std::exception_ptr& exception) {
                            EXPECT_FALSE(exception);
                            is_stopped = true;
                          });
    EXPECT_TRUE(run_until([&] { return is_stopped; }));
    nodes_.erase(number);
    started_.erase(number);
  }
  TestNode& node(unsigned number) { return *nodes_.at(number); }

  // Runs the loop until the condition holds; false after a time that only a hang takes.
  bool run_until(const std::function<bool()>& condition,
                 std::chrono::seconds limit = std::chrono::seconds(60)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    io.restart();
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.run_one_for(std::chrono::milliseconds(50));
      if (io.stopped()) io.restart();
    }
    return true;
  }
  bool run_until_up() {
    return run_until([&] {
      for (auto& [number, node] : nodes_) {
        for (auto& [other_number, other] : nodes_) {
          if (number != other_number && !node->is_up(other->id)) return false;
        }
      }
      return true;
    });
  }
  const wire::ClusterId& cluster() const { return cluster_; }
  const std::filesystem::path& path() const { return directory_.path(); }

  boost::asio::io_context io{1};

 private:
  bool is_plain_;
  TemporaryDirectory directory_;
  wire::ClusterId cluster_{};
  std::uint64_t boots_ = 100;
  std::map<unsigned, std::unique_ptr<TestNode>> nodes_;
  std::map<unsigned, bool> started_;
};

}  // namespace dvk::link
