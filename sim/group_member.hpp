// A member of a group whose messages travel as ordinary one-way messages between endpoints.
#pragma once

#include <functional>
#include <optional>
#include <set>

#include "dvk/core/group_core.hpp"
#include "dvk/core/group_outbox.hpp"
#include "sim/context.hpp"
#include "sim/node_clock.hpp"

namespace sim {

// What an application puts before a group's message, so that it is not taken for anything else.
struct GroupTag {
  static constexpr std::uint64_t expected_magic = 0x70756F7247677453;
  std::uint64_t magic = expected_magic;
  std::uint64_t group = 0;
};
// The group a payload belongs to; nothing: to none.
std::optional<std::uint64_t> group_of(dvs::BytesView payload);

class GroupMember {
 public:
  // Sends on behalf of the endpoint; queue_full: later again.
  using Send = std::function<dvs::Result<void>(const Address& to, dvs::Bytes payload)>;

  GroupMember(Context& context, std::uint64_t group, const Address& self, Send send);

  std::uint64_t group() const { return group_; }
  void install(const dvk::core::GroupView& view);
  void multicast();
  void on_message(const Address& from, dvs::BytesView payload);
  // Messages to this endpoint were lost. Of interest only if they may have been the group's.
  void on_peer_broken(const Address& peer);
  // The end of a turn: takes deliveries and sends what is to be sent, as far as there is room.
  void settle();
  bool has_unsent() const { return !outbox_.is_empty(); }
  // The endpoint is no longer a member, as it has begun another life.
  void stop();

 private:
  dvs::Result<void> give(const Address& member, dvs::BytesView message);
  void begin_anew();

  Context& context_;
  NodeClock clock_;  // its own, as it outlives moves from node to node
  std::uint64_t group_;
  Address self_;
  Send send_;
  dvk::core::GroupOutbox outbox_;
  dvk::core::GroupCore core_;
  std::uint64_t next_number_ = 1;
  std::set<Address> others_;  // to whom anything was ever sent
  Alarm alarm_;
};

}  // namespace sim
