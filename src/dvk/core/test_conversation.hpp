// Two halves of a conversation, joined by the hand of a test. The window takes four packets of no
// more than their own cost, the queue eight.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dvk/core/conversation.hpp"
#include "dvk/core/test_carrier.hpp"

namespace dvk::core {

class ConversationTest : public ::testing::Test {
 protected:
  using Kinds = std::vector<PacketKind>;
  using Texts = std::vector<std::string>;
  static constexpr std::uint64_t packet_cost = 64;

  static Limits small_limits() {
    Limits limits;
    limits.window_cost = 4 * packet_cost;
    limits.send_queue_cost = 8 * packet_cost;
    limits.packet_cost = packet_cost;
    limits.acknowledge_every = 3;
    return limits;
  }

  struct Half {
    Half(unsigned self, unsigned peer)
        : conversation(test_address(self), test_address(peer), limits) {}

    bool flush(TimePoint now = test_start) { return conversation.flush(carrier, now); }
    Kinds kinds_sent() {
      Kinds kinds;
      for (const auto& packet : carrier.take()) kinds.push_back(packet.header.kind);
      return kinds;
    }
    void message(std::string_view text = "") {
      EXPECT_TRUE(conversation.submit(PacketKind::message, 0, test_bytes(text)).has_value());
    }

    const Limits limits = small_limits();
    TestCarrier carrier;
    Conversation conversation;
  };

  ConversationTest() {
    a.conversation.set_path(PathKind::lossy);
    b.conversation.set_path(PathKind::lossy);
  }

  // Everything that `from` has sent, offered to `to`; tells what it took.
  static Texts carry(Half& from, Half& to, TimePoint now = test_start) {
    Texts taken;
    for (const auto& packet : from.carrier.take()) {
      if (!to.conversation.receive(packet.header, now)) continue;
      taken.emplace_back(dvs::as_text(packet.payload));
    }
    return taken;
  }
  static PacketHeader packet_from(unsigned peer, std::uint64_t sequence, std::uint32_t epoch = 1,
                                  PacketKind kind = PacketKind::message) {
    PacketHeader header;
    header.set_source(test_address(peer));
    header.kind = kind;
    header.sequence = sequence;
    header.epoch = epoch;
    return header;
  }

  Half a{1, 2};
  Half b{2, 1};
};

}  // namespace dvk::core
