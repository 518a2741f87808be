#include "cluster/state/command.hpp"

#include <string>
#include <type_traits>
#include <utility>

#include "cluster/state/limits.hpp"

namespace dvs::cluster {
namespace {

constexpr std::size_t head_bytes = 1 + 2 * sizeof(std::uint64_t);

}  // namespace

bool is_safe_to_repeat(const Command& command) {
  return std::visit(
      []<class Body>(const Body& body) {
        // Each rests on a number that never comes back. A write that comes late would bring back
        // what was overwritten, and a Join the node that left.
        if constexpr (std::is_same_v<Body, Claim>) return body.expected_epoch != 0;
        if constexpr (std::is_same_v<Body, Join>) return body.wished != no_node;
        return std::is_same_v<Body, OpenSession> || std::is_same_v<Body, Leave> ||
               std::is_same_v<Body, ProposeView> || std::is_same_v<Body, DeclareLost> ||
               std::is_same_v<Body, Release> || std::is_same_v<Body, HandOver> ||
               std::is_same_v<Body, Forget>;
      },
      command);
}

Bytes encode_proposal(const Proposal& proposal) {
  Bytes bytes;
  dvk::wire::Writer writer(bytes);
  std::uint8_t version = command_version;
  Proposal copy{proposal.client, proposal.sequence, {}};
  writer(version, copy.client, copy.sequence);
  const Bytes command = dvk::wire::encode_variant(proposal.command);
  bytes.insert(bytes.end(), command.begin(), command.end());
  return bytes;
}

Result<std::uint8_t> version_of_proposal(BytesView bytes) {
  if (bytes.empty()) return fail(Errc::protocol_violation, "empty proposal");
  return static_cast<std::uint8_t>(bytes[0]);
}

Result<Proposal> decode_proposal(BytesView bytes) {
  DVS_TRY(const std::uint8_t version, version_of_proposal(bytes));
  if (version == 0 || version > command_version) {
    return fail(Errc::version_mismatch, "proposal of version " + std::to_string(version));
  }
  if (bytes.size() > proposal_bytes_max) {
    return fail(Errc::message_too_large, "proposal of " + std::to_string(bytes.size()) + " bytes");
  }
  if (bytes.size() < head_bytes) return fail(Errc::protocol_violation, "proposal cut off");
  Proposal proposal;
  dvk::wire::Reader head(bytes.subspan(1, head_bytes - 1));
  head(proposal.client, proposal.sequence);
  DVS_TRY(proposal.command, dvk::wire::decode_variant<Command>(bytes.subspan(head_bytes)));
  return proposal;
}

}  // namespace dvs::cluster
