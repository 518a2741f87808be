// A Carrier for tests: keeps what it is handed, and has as much room as the test says.
#pragma once

#include <deque>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "dvk/core/conversation.hpp"

namespace dvk::core {

struct TestCarrier final : Carrier {
  struct Sent {
    Address peer;
    PacketHeader header;
    Bytes payload;
  };

  bool transmit(const Address& peer, const PacketHeader& header, BytesView payload) override {
    if (room == 0) return false;
    --room;
    sent.push_back({peer, header, dvs::to_bytes(payload)});
    return true;
  }
  void publish(const Address& peer, const Acknowledgement& acknowledgement) override {
    published.emplace_back(peer, acknowledgement);
  }
  void want_route(const Address& peer) override { wanted.push_back(peer); }

  std::deque<Sent> take() { return std::exchange(sent, {}); }

  std::size_t room = std::numeric_limits<std::size_t>::max();
  std::deque<Sent> sent;
  std::vector<std::pair<Address, Acknowledgement>> published;
  std::vector<Address> wanted;
};

inline Address test_address(unsigned serial, unsigned container = 1) {
  return {dvs::ContainerId{container}, dvs::EndpointId{serial},
          dvs::Incarnation{std::uint64_t{1} << dvs::serial_bits | serial}};
}
inline Bytes test_bytes(std::string_view text) {
  return dvs::to_bytes(dvs::as_bytes(text));
}

// Pure code only compares times, so any beginning will do.
constexpr TimePoint test_start{std::chrono::hours(1)};

}  // namespace dvk::core
