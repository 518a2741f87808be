#include "cluster/membership/message.hpp"

#include <string>

#include "cluster/state/limits.hpp"

namespace dvs::cluster {
namespace {

// Numbers and times of which any two can be added and subtracted.
bool is_number(std::uint64_t number) {
  return number < count_max;
}
bool is_time(std::int64_t time) {
  return time >= 0 && is_number(static_cast<std::uint64_t>(time));
}

bool is_sound(const Ping& ping) {
  return is_number(ping.term) && is_time(ping.asked);
}
bool is_sound(const Heartbeat& heartbeat) {
  return is_number(heartbeat.term) && heartbeat.boot != BootId{} && is_time(heartbeat.sent) &&
         is_time(heartbeat.granted) && is_time(heartbeat.answers);
}
bool is_sound(const Grant& grant) {
  return is_number(grant.term) && is_number(grant.view) && is_time(grant.sent);
}
bool is_sound(const Probe& probe) {
  return is_number(probe.term) && is_number(probe.round);
}
bool is_sound(const Support& support) {
  return is_number(support.term) && is_number(support.round);
}
bool is_sound(const Forward& forward) {
  return forward.origin != no_node && forward.target != no_node;
}

}  // namespace

Bytes encode_membership(const MembershipMessage& message) {
  Bytes bytes{static_cast<std::byte>(membership_version)};
  const Bytes body = dvk::wire::encode_variant(message);
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

Result<MembershipMessage> decode_membership(BytesView bytes) {
  if (bytes.empty() || bytes.size() > membership_message_bytes_max) {
    return fail(Errc::protocol_violation,
                "membership message of " + std::to_string(bytes.size()) + " bytes");
  }
  const auto version = static_cast<unsigned>(bytes[0]);
  if (version != membership_version) {
    return fail(Errc::version_mismatch, "membership message of version " + std::to_string(version));
  }
  DVS_TRY(MembershipMessage message,
          dvk::wire::decode_variant<MembershipMessage>(bytes.subspan(1)));
  if (!std::visit([](const auto& body) { return is_sound(body); }, message)) {
    return fail(Errc::protocol_violation,
                "membership message " + std::to_string(message.index()) + " is out of range");
  }
  return message;
}

}  // namespace dvs::cluster
