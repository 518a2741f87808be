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

// The history that a member enters with its first delivery. A new one begins only with a view of
// which nobody has delivered anything of an older one.
std::uint64_t GroupChecker::enter(Group& group, const Address& member, std::uint64_t position,
                                  std::uint64_t view) {
  const auto has_older = [&](const Address& address) {
    const auto found = group.members.find(address);
    return found != group.members.end() && found->second.position != 0 &&
           found->second.history < view;
  };
  const bool is_new = !group.histories.contains(view) && position == 1 &&
                      std::ranges::none_of(group.views[view].members, has_older);
  if (is_new) group.histories[view] = {};
  // One that joins may be the first to deliver anything: the others hold what is before it.
  if (group.histories.empty()) group.histories[group.views.begin()->first] = {};
  const auto next = group.histories.upper_bound(view);
  if (next != group.histories.begin()) return std::prev(next)->first;
  fail(fmt::format("the first delivery is that of position {}", position), member);
  return view;
}

// The first member that delivers a position determines it for all.
void GroupChecker::append(History& history, const Address& member, std::uint64_t position,
                          const Entry& entry) {
  const auto [slot, is_first] = history.entries.try_emplace(position, entry);
  if (slot->second != entry) {
    return fail(fmt::format("two members disagree about position {}", position), member,
                entry.sender);
  }
  if (!is_first || !entry.sender) return;
  std::uint64_t& last = history.last_messages[entry.sender];
  last = std::max(last, entry.number);
}

// What nobody delivered that is still there is missing here.
void GroupChecker::check_order(const History& history) {
  std::map<Address, std::uint64_t> lasts;
  std::uint64_t expected = 1;
  bool is_whole = true;
  for (const auto& [position, entry] : history.entries) {
    is_whole = is_whole && position == expected;
    expected = position + 1;
    if (!entry.sender) continue;
    std::uint64_t& last = lasts[entry.sender];
    if (is_whole ? entry.number != last + 1 : entry.number <= last) {
      fail(fmt::format("message {} of a sender is in the history after its message {}",
                       entry.number, last),
           entry.sender);
    }
    last = entry.number;
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
  if (member.position == 0) member.history = enter(group, address, position, entry.number);
  if (is_view) member.view = entry.number;
  member.position = position;
  append(group.histories[member.history], address, position, entry);
  ++deliveries_;
}

std::optional<std::string> GroupChecker::find_pending() const {
  for (const auto& [number, group] : groups_) {
    if (group.views.empty()) continue;
    const dvk::core::GroupView& last = group.views.rbegin()->second;
    static const std::pair<const std::uint64_t, History> nothing{};
    const auto& [began_with, history] =
        group.histories.empty() ? nothing : *group.histories.rbegin();
    const std::uint64_t end = history.entries.empty() ? 0 : history.entries.rbegin()->first;
    for (const Address& address : last.members) {
      if (!lives_.is_alive(address)) continue;
      const auto found = group.members.find(address);
      const Member member = found == group.members.end() ? Member{} : found->second;
      if (member.history != began_with || member.view != last.number || member.position != end) {
        return fmt::format("group {}: member {} is at position {} of {}, view {} of {}", number,
                           to_string(address), member.position, end, member.view, last.number);
      }
      const auto sent = history.last_messages.find(address);
      if ((sent == history.last_messages.end() ? 0 : sent->second) != member.sent) {
        return fmt::format("group {}: {} messages of member {}, not all delivered", number,
                           member.sent, to_string(address));
      }
    }
  }
  return std::nullopt;
}

void GroupChecker::check_at_end() {
  if (const auto pending = find_pending()) judge_.fail("groups", *pending);
  for (const auto& [number, group] : groups_) {
    for (const auto& [view, history] : group.histories) check_order(history);
  }
}

}  // namespace sim
