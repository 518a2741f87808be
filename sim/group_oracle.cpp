#include "sim/group_oracle.hpp"

#include <algorithm>

namespace sim {

using std::chrono::milliseconds;

GroupOracle::GroupOracle(Context& context, World& world) : context_(context), world_(world) {}

void GroupOracle::begin() {
  // Where some may not talk to others, a group of both could not work.
  if (context_.scenario.has_policy) return;
  for (std::uint64_t number = 1; number <= context_.scenario.group_count; ++number) {
    groups_[number] = {};
    const auto alarm =
        alarms_.try_emplace(number, context_.scheduler, [this, number] { review(number); });
    alarm.first->second.set(context_.now() + context_.random.about(milliseconds(200)));
  }
}

// Those that live and never left the group.
std::vector<Address> GroupOracle::candidates(const Group& group) const {
  std::vector<Address> found;
  for (Application* application : world_.living_applications()) {
    const Address& address = application->address();
    const bool is_in = std::ranges::find(group.view.members, address) != group.view.members.end();
    if (address.container == dvs::ContainerId{1} && application->is_running() && !is_in &&
        !group.known.contains(address)) {
      found.push_back(address);
    }
  }
  return found;
}

void GroupOracle::review(std::uint64_t number) {
  Group& group = groups_[number];
  std::vector<Address> members = group.view.members;
  std::erase_if(members, [&](const Address& member) { return !context_.lives.is_alive(member); });
  // A group whose members are all dead is over: nobody holds its history.
  const bool has_begun = group.view.number != 0;
  if (has_begun && members.empty()) return;
  if (!context_.is_healed && (!has_begun || context_.random.one_in(8))) {
    for (const Address& candidate : candidates(group)) {
      if (members.size() < 5 && (members.size() < 2 || context_.random.one_in(3))) {
        members.push_back(candidate);
      }
    }
  }
  const bool is_evicting = !context_.is_healed && members.size() > 2 && context_.random.one_in(20);
  if (is_evicting)
    members.erase(members.begin() +
                  static_cast<std::ptrdiff_t>(context_.random.below(members.size())));
  if (members != group.view.members) decide(number, std::move(members));
  alarms_.at(number).set(context_.now() + context_.random.about(milliseconds(150)));
}

void GroupOracle::decide(std::uint64_t number, std::vector<Address> members) {
  Group& group = groups_[number];
  const std::vector<Address> before = group.view.members;
  group.view = {group.view.number + 1, std::move(members)};
  context_.groups.view_decided(number, group.view);
  std::set<Address> told(before.begin(), before.end());  // also who is evicted
  told.insert(group.view.members.begin(), group.view.members.end());
  for (const Address& member : told) {
    group.known.try_emplace(member, 0);
    context_.scheduler.after(
        context_.random.about(milliseconds(20)),
        [this, number, member, view = group.view] { tell(number, member, view); });
  }
}

void GroupOracle::tell(std::uint64_t number, const Address& member,
                       const dvk::core::GroupView& view) {
  Application* application = world_.find_application(member);
  Group& group = groups_[number];
  if (application == nullptr || view.number <= group.known[member]) return;
  // Not while it is frozen or paused; then it may hear of a later one at once.
  Process* process = application->process();
  if (process == nullptr || process->ready_at() > context_.now()) {
    if (!context_.lives.is_alive(member)) return;
    return context_.scheduler.after(milliseconds(5),
                                    [this, number, member, view] { tell(number, member, view); });
  }
  group.known[member] = view.number;
  application->join(number);
  application->member(number)->install(view);
}

std::optional<Address> GroupOracle::find_pending() const {
  for (const auto& [number, group] : groups_) {
    const auto lives = [&](const Address& member) { return context_.lives.is_alive(member); };
    if (std::ranges::none_of(group.view.members, lives)) continue;
    for (const Address& member : group.view.members) {
      if (!lives(member) || group.known.at(member) != group.view.number) return member;
    }
  }
  return std::nullopt;
}

}  // namespace sim
