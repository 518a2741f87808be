#include "sim/group_member.hpp"

#include <cstring>

#include <fmt/format.h>

namespace sim {

std::optional<std::uint64_t> group_of(dvs::BytesView payload) {
  GroupTag tag;
  if (payload.size() < sizeof(tag)) return std::nullopt;
  std::memcpy(&tag, payload.data(), sizeof(tag));
  return tag.magic == GroupTag::expected_magic ? std::optional(tag.group) : std::nullopt;
}

GroupMember::GroupMember(Context& context, std::uint64_t group, const Address& self, Send send)
    : context_(context),
      group_(group),
      self_(self),
      send_(std::move(send)),
      core_(self, *this),
      alarm_(context.scheduler, [this] { begin_anew(); }) {}

void GroupMember::install(const dvk::core::GroupView& view) {
  if (const auto result = core_.install(view); !result) {
    context_.judge.fail("groups", "a good view was refused: " + to_string(result.error()), {self_});
  }
  settle();
}

void GroupMember::multicast() {
  if (core_.is_evicted() || core_.outstanding() > 64) return;  // more would only wait
  const auto payload = GroupChecker::payload(self_, next_number_);
  if (const auto given = core_.multicast(payload)) {
    context_.groups.multicast(group_, self_, *given);
    ++next_number_;
  }
  settle();
}

void GroupMember::on_message(const Address& from, dvs::BytesView payload) {
  if (const auto result = core_.on_message(from, payload.subspan(sizeof(GroupTag))); !result) {
    context_.judge.fail("groups", "a member found rubbish: " + to_string(result.error()),
                        {self_, from});
  }
}

void GroupMember::on_peer_broken(const Address& peer) {
  if (!others_.contains(peer)) return;
  broken_.insert(peer);
  alarm_.set_by(context_.now() + std::chrono::milliseconds(20));
}

void GroupMember::begin_anew() {
  for (const Address& peer : std::exchange(broken_, {})) {
    // What waited belongs to the conversation that broke.
    unsent_.erase(peer);
    core_.on_peer_broken(peer);
  }
  settle();
}

void GroupMember::settle() {
  core_.end_turn();
  bool has_delivered = false;
  while (const auto delivery = core_.next_delivery()) {
    has_delivered = true;
    const auto* message = std::get_if<dvk::core::GroupMessageDelivery>(&*delivery);
    context_.record(
        {.what = message != nullptr ? Happening::group_delivery : Happening::group_view,
         .from = self_,
         .a = group_,
         .b = message != nullptr ? message->position
                                 : std::get<dvk::core::GroupViewDelivery>(*delivery).number,
         .c = message != nullptr ? message->number
                                 : std::get<dvk::core::GroupViewDelivery>(*delivery).position});
    context_.groups.delivered(group_, self_, *delivery);
  }
  if (has_delivered) core_.end_turn();
  for (auto& [member, messages] : unsent_) {
    while (!messages.empty() && !broken_.contains(member)) {
      const auto result = send_(member, messages.front());
      if (!result && result.error() == dvs::Errc::queue_full) break;
      messages.pop_front();
    }
  }
}

void GroupMember::stop() {
  alarm_.clear();
  unsent_.clear();
}

bool GroupMember::has_unsent() const {
  for (const auto& [member, messages] : unsent_) {
    if (!messages.empty()) return true;
  }
  return false;
}

void GroupMember::send(const Address& member, dvs::Bytes message) {
  const GroupTag tag{.group = group_};
  dvs::Bytes payload(sizeof(tag) + message.size());
  std::memcpy(payload.data(), &tag, sizeof(tag));
  std::ranges::copy(message, payload.begin() + sizeof(tag));
  others_.insert(member);
  unsent_[member].push_back(std::move(payload));
}

}  // namespace sim
