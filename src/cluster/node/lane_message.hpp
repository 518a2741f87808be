// What nodes say to each other on the lane `cluster` of their link: one byte says which, then it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "base/bytes.hpp"
#include "cluster/state/command.hpp"
#include "dvk/wire/codec.hpp"

namespace dvs::cluster {

enum class LaneForm : std::uint8_t {
  stream = 1,      // StreamHead and bytes (carrier/stream_carrier.hpp)
  membership = 2,  // MembershipMessage (membership/message.hpp)
  hello = 3,       // Hello: first on every session, both ways
};

// Who a node is, for a leader that does not know it yet. Idempotent.
struct Hello {
  std::string name;
  std::string address;
  BootId boot{};
  std::uint8_t speaks = command_version;
  void fields(auto&& field) { field(name, address, boot, speaks); }
};

template <class Body>
Bytes encode_lane_message(LaneForm form, Body body) {
  Bytes bytes(1, static_cast<std::byte>(form));
  const Bytes fields = dvk::wire::encode_fields(body);
  bytes.insert(bytes.end(), fields.begin(), fields.end());
  return bytes;
}
inline Bytes with_form(LaneForm form, BytesView body) {
  Bytes bytes(1 + body.size(), static_cast<std::byte>(form));
  std::memcpy(bytes.data() + 1, body.data(), body.size());
  return bytes;
}

}  // namespace dvs::cluster
