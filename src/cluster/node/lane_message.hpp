// What nodes say to each other on the lane `cluster` of their link: one byte says which, then it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

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

inline Bytes with_form(LaneForm form, BytesView body) {
  Bytes bytes(1, static_cast<std::byte>(form));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}
template <class Body>
Bytes encode_lane_message(LaneForm form, Body body) {
  return with_form(form, dvk::wire::encode_fields(std::move(body)));
}

}  // namespace dvs::cluster
