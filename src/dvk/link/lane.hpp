// The lanes of a link and the names of what flows on them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <dvs/ids.hpp>

#include "base/bytes.hpp"

namespace dvk::link {

// Each lane is a connection of its own, so that the kernel keeps them out of each other's way.
enum class Lane : std::uint8_t {
  message = 0,  // packets, directory, moves: short, and never behind a copy
  bulk = 1,     // copies
  cluster = 2,  // consensus and heartbeats: nothing else may delay them
};
constexpr std::size_t lane_count = 3;
constexpr std::array<Lane, lane_count> all_lanes = {Lane::message, Lane::bulk, Lane::cluster};
constexpr const char* name_of(Lane lane) {
  switch (lane) {
    case Lane::message: return "message";
    case Lane::bulk: return "bulk";
    case Lane::cluster: return "cluster";
  }
  return "unknown";
}

// Where the link listener of a node can be reached.
struct PeerAddress {
  dvs::NodeId id{};
  std::string host;  // name or number
  std::uint16_t port = 0;
};

// Says which conversation a connection between two processes is for. The daemons agreed on it
// over their link; whoever shows it is let through, so it is 32 random bytes and used once.
using ExpressToken = std::array<std::byte, 32>;

}  // namespace dvk::link
