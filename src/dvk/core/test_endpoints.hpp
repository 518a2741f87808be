// Endpoints that talk to each other through queues which a test empties by hand.
#pragma once

#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "dvk/core/endpoint_core.hpp"
#include "dvk/core/test_carrier.hpp"

namespace dvk::core {

struct TestEndpoint {
  explicit TestEndpoint(const Address& self, const Limits& limits = {})
      : core(self, carrier, limits) {}
  TestCarrier carrier;
  EndpointCore core;
};

class EndpointTest : public ::testing::Test {
 protected:
  EndpointTest() { rebuild({}); }

  void rebuild(const Limits& limits) {
    a = std::make_unique<TestEndpoint>(test_address(1), limits);
    b = std::make_unique<TestEndpoint>(test_address(2), limits);
  }
  // Hands over what `from` has sent, so far, and what it published.
  void deliver(TestEndpoint& from, TestEndpoint& to) {
    for (const auto& packet : from.carrier.take()) {
      if (packet.peer != to.core.self()) continue;
      to.core.on_packet(packet.header.source(), path, packet.header, packet.payload, now);
    }
    for (const auto& [peer, acknowledgement] : std::exchange(from.carrier.published, {})) {
      if (peer == to.core.self()) {
        to.core.on_acknowledgement(from.core.self(), acknowledgement, now);
      }
    }
  }
  // Both ways until nothing moves any more; delayed acknowledgements included.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      deliver(*a, *b);
      deliver(*b, *a);
      if (!a->carrier.sent.empty() || !b->carrier.sent.empty()) continue;
      now += std::chrono::milliseconds(5);
      a->core.on_tick(now);
      b->core.on_tick(now);
      if (a->carrier.sent.empty() && b->carrier.sent.empty()) return;
    }
    ADD_FAILURE() << "the endpoints never come to rest";
  }
  void connect() {
    a->core.path_ready(b->core.self(), path, now);
    b->core.path_ready(a->core.self(), path, now);
  }
  void send(TestEndpoint& from, TestEndpoint& to, std::string_view text) {
    const auto sent = from.core.send(to.core.self(), test_bytes(text), now);
    EXPECT_TRUE(sent.has_value()) << to_string(sent.error());
  }
  std::uint64_t call(TestEndpoint& from, TestEndpoint& to, std::string_view text) {
    const auto number = from.core.start_call(to.core.self(), test_bytes(text), now);
    EXPECT_TRUE(number.has_value());
    return number.value_or(0);
  }
  std::optional<Incoming> take(TestEndpoint& from, const EndpointCore::Filter& filter = {}) {
    return from.core.take(filter, now);
  }
  // The text of the next item, or "-".
  std::string next_text(TestEndpoint& from, const EndpointCore::Filter& filter = {}) {
    const auto item = take(from, filter);
    return item ? std::string(dvs::as_text(item->payload)) : "-";
  }
  // How the call ended: the reply's text, the name of its error, or "-".
  static std::string end_of_call(TestEndpoint& from, std::uint64_t number) {
    const auto result = from.core.take_reply(number);
    if (!result) return "-";
    return *result ? std::string(dvs::as_text(**result))
                   : std::string(name_of(result->error().code));
  }

  PathKind path = PathKind::lossy;
  TimePoint now = test_start;
  std::unique_ptr<TestEndpoint> a, b;
};

}  // namespace dvk::core
