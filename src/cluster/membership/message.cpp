#include "cluster/membership/message.hpp"

#include <string>

namespace dvs::cluster {

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
  return dvk::wire::decode_variant<MembershipMessage>(bytes.subspan(1));
}

}  // namespace dvs::cluster
