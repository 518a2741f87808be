#include "sim/group_checker.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "sim/payload.hpp"
#include "sim/random.hpp"

namespace sim {

using dvs::Address;

dvs::Bytes GroupChecker::payload(const Address& sender, std::uint64_t number) {
  const std::uint64_t key = mix(dvs::raw(sender.incarnation) + mix(number));
  dvs::Bytes bytes(8 + key % 200);
  fill_pattern(bytes, key);
  return bytes;
}

void GroupChecker::fail(std::string words, const Address& a, const Address& b) {
  judge_.fail("groups", std::move(words), {a, b});
}

void GroupChecker::view_decided(std::uint64_t group, const dvk::core::GroupView& view) {
  groups_[group].views[view.number] = view;
}

void GroupChecker::multicast(std::uint64_t group, const Address& sender, std::uint64_t number) {
  Member& member = groups_[group].members[sender];
  if (number != member.sent + 1) fail("a multicast was given the wrong number", sender);
  member.sent = number;
}

GroupChecker::Entry GroupChecker::describe(const Group& group, const Address& member,
                                           const dvk::core::GroupDelivery& delivery,
                                           std::uint64_t& position) {
  if (const auto* message = std::get_if<dvk::core::GroupMessageDelivery>(&delivery)) {
    position = message->position;
    const auto sender = group.members.find(message->sender);
    if (sender == group.members.end() || message->number > sender->second.sent ||
        message->payload != payload(message->sender, message->number)) {
      fail("a message was delivered that nobody sent", member, message->sender);
    }
    return {message->sender, message->number};
  }
  const auto& view = std::get<dvk::core::GroupViewDelivery>(delivery);
  position = view.position;
  const auto decided = group.views.find(view.number);
  if (decided == group.views.end() || decided->second.members != view.members) {
    fail(fmt::format("view {} was delivered otherwise than decided", view.number), member);
  }
  return {{}, view.number};
}

// The first member that delivers a position determines it for all.
void GroupChecker::append(Group& group, const Address& member, std::uint64_t position,
                          const Entry& entry) {
  const auto [slot, is_first] = group.history.try_emplace(position, entry);
  if (slot->second != entry) {
    return fail(fmt::format("two members disagree about position {}", position), member,
                entry.sender);
  }
  if (!is_first || !entry.sender) return;
  if (std::uint64_t& last = group.in_history[entry.sender]; entry.number == last + 1) {
    last = entry.number;
  } else {
    fail(fmt::format("message {} of a sender is in the history after its message {}", entry.number,
                     last),
         member, entry.sender);
  }
}

void GroupChecker::delivered(std::uint64_t number, const Address& address,
                             const dvk::core::GroupDelivery& delivery) {
  Group& group = groups_[number];
  std::uint64_t position = 0;
  const Entry entry = describe(group, address, delivery, position);
  Member& member = group.members[address];
  const bool is_view = !entry.sender;
  if (member.position == 0 ? !is_view : position != member.position + 1) {
    fail(fmt::format("position {} was delivered after position {}", position, member.position),
         address);
  }
  if (is_view && entry.number <= member.view) fail("views went backwards", address);
  if (is_view) member.view = entry.number;
  member.position = position;
  append(group, address, position, entry);
  ++deliveries_;
}

std::optional<std::string> GroupChecker::find_pending() const {
  for (const auto& [number, group] : groups_) {
    if (group.views.empty()) continue;
    const dvk::core::GroupView& last = group.views.rbegin()->second;
    const std::uint64_t end = group.history.empty() ? 0 : group.history.rbegin()->first;
    for (const Address& address : last.members) {
      if (!lives_.is_alive(address)) continue;
      const auto found = group.members.find(address);
      const Member member = found == group.members.end() ? Member{} : found->second;
      if (member.view != last.number || member.position != end) {
        return fmt::format("group {}: member {} is at position {} of {}, view {} of {}", number,
                           to_string(address), member.position, end, member.view, last.number);
      }
      const auto sent = group.in_history.find(address);
      if ((sent == group.in_history.end() ? 0 : sent->second) != member.sent) {
        return fmt::format("group {}: {} messages of member {}, not all delivered", number,
                           member.sent, to_string(address));
      }
    }
  }
  return std::nullopt;
}

void GroupChecker::check_at_end() {
  if (const auto pending = find_pending()) judge_.fail("groups", *pending);
}

}  // namespace sim
