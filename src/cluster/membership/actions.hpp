// What a membership machine wants done.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "cluster/membership/message.hpp"
#include "cluster/state/command.hpp"

namespace dvs::cluster {

struct Actions {
  struct Envelope {
    NodeId to{};
    Bytes message;
  };
  enum class Standing : std::uint8_t {
    must_freeze,  // stop acting as an authority, freeze what needs the rest of the cluster
    may_thaw,
  };

  std::vector<Envelope> messages;
  // For the log, from the leader only.
  std::vector<Command> proposals;
  // Set when it changes. A machine begins frozen, without saying so.
  std::optional<Standing> standing;
  // This boot has been declared lost: end what ran under it, then go on with set_boot().
  bool must_take_new_boot = false;

  void send(NodeId to, const MembershipMessage& message) {
    messages.push_back({to, encode_membership(message)});
  }
};

}  // namespace dvs::cluster
