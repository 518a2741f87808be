// Three nodes joined by queues that a test empties by hand, and processes attached to them.
#pragma once

#include <array>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "dvk/node/test_output.hpp"

namespace dvk::node {

class ClusterTest : public ::testing::Test {
 protected:
  using Lane = TestNode::Lane;
  using Kind = wire::RouteKind;
  // An attached process. Node is 1, 2 or 3.
  struct Process {
    unsigned node = 0;
    Handle handle{};
    Address address{};
  };

  static constexpr unsigned node_count = 3;
  static constexpr NodeId id(unsigned node) { return static_cast<NodeId>(node); }

  ClusterTest() {
    install_view({1, 2, 3});
    for (unsigned a = 1; a <= node_count; ++a) {
      for (unsigned b = 1; b <= node_count; ++b) {
        if (a != b) core(a).on_link_up(id(b), false, now);
      }
    }
    settle();
  }

  TestNode& node(unsigned number) { return *nodes_.at(number - 1); }
  NodeCore& core(unsigned number) { return *node(number).core; }

  // --- Links ---
  // The oldest message from one node to another. False: there is none.
  bool deliver_one(unsigned from, unsigned to, Lane lane = Lane::message) {
    auto& queue = node(from).lanes[{id(to), lane}];
    if (queue.empty()) return false;
    const Bytes bytes = std::move(queue.front());
    queue.pop_front();
    const auto result = core(to).on_node_message(id(from), bytes, now);
    EXPECT_TRUE(result.has_value()) << to_string(result.error());
    report_unreachable();
    return true;
  }
  void deliver(unsigned from, unsigned to, Lane lane = Lane::message) {
    while (deliver_one(from, to, lane)) {
    }
  }
  // Everything until nothing moves; copies included, clocks not.
  void settle() {
    bool has_moved = true;
    for (int rounds = 0; has_moved; ++rounds) {
      ASSERT_LT(rounds, 10'000) << "the nodes never come to rest";
      report_unreachable();
      has_moved = false;
      for_all_lanes([&](unsigned from, unsigned to, Lane lane) {
        has_moved = deliver_one(from, to, lane) || has_moved;
      });
      for (unsigned number = 1; number <= node_count; ++number) {
        has_moved = core(number).work() || has_moved;
      }
      for_all_lanes([&](unsigned from, unsigned to, Lane lane) {
        has_moved = has_moved || !node(from).lanes[{id(to), lane}].empty();
      });
    }
  }
  // Time passes, and the clocks that run out on the way are served.
  void pass(Duration duration) {
    const TimePoint end = now + duration;
    settle();
    for (int turns = 0;; ++turns) {
      ASSERT_LT(turns, 10'000) << "a clock runs out again and again";
      TimePoint next = end;
      for (unsigned number = 1; number <= node_count; ++number) {
        next = std::min(next, core(number).next_deadline());
      }
      if (next >= end) break;
      now = std::max(now, next);
      tick();
    }
    now = end;
    tick();
  }
  void tick() {
    for (unsigned number = 1; number <= node_count; ++number) core(number).on_tick(now);
    settle();
  }
  void drop(unsigned a, unsigned b) {
    for (const Lane lane : {Lane::message, Lane::bulk}) {
      node(a).lanes[{id(b), lane}].clear();
      node(b).lanes[{id(a), lane}].clear();
    }
  }
  // The session breaks with all that is under way, and another begins.
  void renew_session(unsigned a, unsigned b) {
    drop(a, b);
    core(a).on_link_up(id(b), false, now);
    core(b).on_link_up(id(a), false, now);
  }
  void cut(unsigned a, unsigned b) {
    drop(a, b);
    node(a).down.insert(id(b));
    node(b).down.insert(id(a));
    core(a).on_link_down(id(b), now);
    core(b).on_link_down(id(a), now);
    report_unreachable();
  }
  void heal(unsigned a, unsigned b) {
    node(a).down.erase(id(b));
    node(b).down.erase(id(a));
    renew_session(a, b);
  }
  // The daemon dies and another takes its place.
  void restart(unsigned number) {
    for (unsigned other = 1; other <= node_count; ++other) {
      if (other != number) drop(number, other);
    }
    node(number).restart();
    core(number).install_view(view_, now);
    for (unsigned other = 1; other <= node_count; ++other) {
      if (other == number) continue;
      core(other).on_link_up(id(number), true, now);
      core(number).on_link_up(id(other), false, now);
    }
  }
  void install_view(std::vector<unsigned> members) {
    ++view_.number;
    view_.members.clear();
    for (const unsigned member : members) view_.members.push_back(id(member));
    for (const unsigned member : members) core(member).install_view(view_, now);
  }
  // The node is lost for good: links down, then the fact, then the view without it.
  void lose(unsigned number) {
    for (unsigned other = 1; other <= node_count; ++other) {
      if (other != number) cut(number, other);
    }
    declare_lost(number);
  }
  // The same, before any link was given up.
  void declare_lost(unsigned number) {
    std::vector<unsigned> rest;
    for (unsigned other = 1; other <= node_count; ++other) {
      if (other == number) continue;
      drop(number, other);
      rest.push_back(other);
    }
    for (const unsigned other : rest) core(other).on_node_lost(id(number), now);
    install_view(rest);
  }
  Result<void> inject(unsigned from, unsigned to, const wire::NodeMessage& message) {
    return core(to).on_node_message(id(from), wire::encode_node_message(message), now);
  }

  // --- Processes ---
  Process attach(unsigned at, const wire::Hello& hello, std::uint32_t uid = 0,
                 unsigned container = 1) {
    const Process process{at, static_cast<Handle>(++handles_), {}};
    core(at).on_hello(process.handle, ContainerId{container}, uid, hello, now);
    return process;
  }
  Process open(unsigned at, const std::string& name = "", std::uint32_t uid = 0,
               unsigned container = 1) {
    Process process = attach(at, {.name = name}, uid, container);
    settle();
    process.address = welcome(process);
    return process;
  }
  // Without a name, and while everything under way stays where it is.
  Process open_at_once(unsigned at) {
    Process process = attach(at, {});
    process.address = welcome(process);
    return process;
  }
  Process open_backup(unsigned at, const std::string& name) {
    Process process = attach(at, {.kind = wire::HelloKind::backup, .name = name});
    settle();
    process.address = welcome(process);
    return process;
  }
  Process adopt(unsigned at, const std::string& name, const Address& address = {},
                std::uint32_t uid = 0, unsigned container = 1) {
    return attach(at, {.kind = wire::HelloKind::adopt, .name = name, .address = address}, uid,
                  container);
  }
  // Moves an endpoint up to the decision, which is on its way then; gives the adopting process.
  Process decide_move(const Process& from, unsigned target) {
    Process there = adopt(target, "", from.address);
    tell(from, wire::MoveOut{.target = id(target), .state_bytes = 1}, Bytes(1));
    deliver(from.node, target);
    there.address = welcome(there);
    tell(there, wire::AdoptReady{});
    deliver(target, from.node);
    return there;
  }
  void close(const Process& process) { core(process.node).on_process_closed(process.handle, now); }
  void tell(const Process& process, const wire::ToDaemon& message, BytesView state = {}) {
    core(process.node).on_process_message(process.handle, message, state, now);
  }
  // The address of the Welcome that must be the next thing the process hears.
  Address welcome(const Process& process) {
    const auto message = next<wire::Welcome>(process);
    return message ? message->address : Address{};
  }
  // The next thing the process hears, if it is of that kind; a failure otherwise.
  template <class Message>
  std::optional<Message> next(const Process& process) {
    auto& told = node(process.node).told[process.handle];
    if (told.empty() || !std::holds_alternative<Message>(told.front())) {
      ADD_FAILURE() << "heard "
                    << (told.empty() ? "nothing"
                                     : "alternative " + std::to_string(told.front().index()));
      return std::nullopt;
    }
    auto message = std::get<Message>(std::move(told.front()));
    told.pop_front();
    return message;
  }
  bool hears_nothing(const Process& process) {
    return node(process.node).told[process.handle].empty();
  }
  Errc refusal(const Process& process) {
    const auto message = next<wire::Refused>(process);
    return message ? message->error : Errc{};
  }
  // Everything heard is forgotten; what the last news of a route to `peer` was. none: there was no
  // news.
  std::optional<wire::Route> news(const Process& process, const Address& peer) {
    std::optional<wire::Route> last;
    for (const auto& message : std::exchange(node(process.node).told[process.handle], {})) {
      const auto* route = std::get_if<wire::Route>(&message);
      if (route != nullptr && route->peer == peer) last = *route;
    }
    return last;
  }
  void expect_gone(const Process& process, const Address& peer, Errc reason) {
    const auto route = news(process, peer);
    ASSERT_TRUE(route.has_value()) << "no news";
    EXPECT_EQ(route->kind, Kind::gone);
    EXPECT_EQ(route->error, reason) << name_of(route->error);
  }
  void expect_relay(const Process& process, const Address& peer, unsigned at) {
    const auto route = news(process, peer);
    ASSERT_TRUE(route.has_value()) << "no news";
    EXPECT_EQ(route->kind, Kind::relay) << name_of(route->error);
    EXPECT_EQ(route->node, id(at));
  }
  void expect_waiting(const Process& process, const Address& peer) {
    const auto route = news(process, peer);
    ASSERT_TRUE(route.has_value()) << "no news";
    EXPECT_EQ(route->kind, Kind::wait);
  }
  void query(const Process& process, const Address& peer) { tell(process, wire::RouteQuery{peer}); }
  // What a name leads to: error, address.
  std::pair<Errc, Address> look_up(const Process& process, const std::string& name) {
    node(process.node).told[process.handle].clear();
    tell(process, wire::NameQuery{.request = 5, .name = name});
    settle();
    const auto result = next<wire::NameResult>(process);
    if (!result) return {Errc::system, {}};
    EXPECT_EQ(result->request, 5U);
    return {result->error, result->address};
  }
  using Found = std::pair<Errc, Address>;

  void send_packet(const Process& process, const Address& to, std::string_view text = "text") {
    PacketHeader header;
    header.kind = wire::PacketKind::message;
    header.set_source(process.address);
    header.set_target(to);
    header.payload_bytes = static_cast<std::uint32_t>(text.size());
    core(process.node).on_process_packet(process.handle, header, dvs::as_bytes(text), now);
  }
  std::optional<TestNode::RingPacket> next_packet(const Process& process) {
    auto& ring = node(process.node).ring[process.handle];
    if (ring.empty()) return std::nullopt;
    auto packet = std::move(ring.front());
    ring.pop_front();
    return packet;
  }
  // Whether a packet of `from` reaches `to` now.
  bool gets_through(const Process& from, const Process& to) {
    node(to.node).ring[to.handle].clear();
    send_packet(from, to.address);
    settle();
    const auto packet = next_packet(to);
    return packet && packet->header.source() == from.address;
  }
  bool both_ways(const Process& a, const Process& b) {
    return gets_through(a, b) && gets_through(b, a);
  }
  // Two endpoints of different nodes with an open conversation.
  void join(const Process& a, const Process& b) {
    query(a, b.address);
    settle();
    query(b, a.address);
    settle();
    expect_relay(a, b.address, b.node);
    expect_relay(b, a.address, a.node);
  }

  template <class Function>
  static void for_all_lanes(Function function) {
    for (unsigned from = 1; from <= node_count; ++from) {
      for (unsigned to = 1; to <= node_count; ++to) {
        if (from == to) continue;
        function(from, to, Lane::message);
        function(from, to, Lane::bulk);
      }
    }
  }

  TimePoint now{std::chrono::hours(1)};
  View view_;

 private:
  // A node there is no way to is down as far as the core is concerned.
  void report_unreachable() {
    for (auto& each : nodes_) {
      std::set<NodeId> told;
      for (auto next = std::exchange(each->unreachable, {}); !next.empty();
           next = std::exchange(each->unreachable, {})) {
        for (const NodeId lost : next) {
          if (told.insert(lost).second) each->core->on_link_down(lost, now);
        }
      }
    }
  }

  std::array<std::unique_ptr<TestNode>, node_count> nodes_{
      std::make_unique<TestNode>(1), std::make_unique<TestNode>(2), std::make_unique<TestNode>(3)};
  std::uint64_t handles_ = 0;
};

}  // namespace dvk::node
