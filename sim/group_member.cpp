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
      core_(self, outbox_),
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
  outbox_.on_broken(peer, clock_.local(context_.now()));
  alarm_.set_by(clock_.world(outbox_.next_deadline()));
}

void GroupMember::begin_anew() {
  for (const Address& peer : outbox_.take_mended(clock_.local(context_.now())))
    core_.on_peer_broken(peer);
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
  outbox_.give_out(
      [this](const Address& member, dvs::BytesView message) { return give(member, message); });
}

void GroupMember::stop() {
  alarm_.clear();
  outbox_.clear();
}

dvs::Result<void> GroupMember::give(const Address& member, dvs::BytesView message) {
  const GroupTag tag{.group = group_};
  dvs::Bytes payload(sizeof(tag) + message.size());
  std::memcpy(payload.data(), &tag, sizeof(tag));
  std::ranges::copy(message, payload.begin() + sizeof(tag));
  others_.insert(member);
  return send_(member, std::move(payload));
}

}  // namespace sim
