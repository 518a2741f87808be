// Groups in the library: a group core fed from an endpoint, and what must wait on the way out.
#include <dvk/group.hpp>

#include <algorithm>

#include "dvk/core/group_core.hpp"
#include "dvk/core/group_outbox.hpp"

namespace dvk {
namespace {

// While something waits for room in a member's queue, look again after.
constexpr auto outbox_pause = std::chrono::milliseconds(2);

GroupEvent to_public(core::GroupDelivery delivery) {
  if (auto* message = std::get_if<core::GroupMessageDelivery>(&delivery)) {
    return GroupMessage{message->sender, message->number, message->position,
                        std::move(message->payload)};
  }
  auto& change = std::get<core::GroupViewDelivery>(delivery);
  return GroupChange{
      {change.number, std::move(change.members)}, change.position, std::move(change.joined)};
}

}  // namespace

struct Group::Impl {
  explicit Impl(Endpoint owned) : endpoint(std::move(owned)), core(endpoint.address(), outbox) {}

  // Hands the conversations what they take. A member that is gone takes nothing; the next view
  // excludes it.
  void empty_outbox() {
    outbox.give_out([this](const Address& member, BytesView message) {
      return endpoint.send(member, message, Deadline::now());
    });
  }

  void mend() {
    for (const Address& member : outbox.take_mended(std::chrono::steady_clock::now())) {
      if (!is_member(member)) continue;
      core.on_peer_broken(member);
      // Being watched ended with the peer_end. A member that has died, the next view excludes.
      static_cast<void>(endpoint.watch(member));
    }
  }

  // When there is something to do even if nothing comes in.
  dvs::TimePoint next_turn() const {
    const dvs::TimePoint outbox_turn =
        outbox.is_empty() ? dvs::never : std::chrono::steady_clock::now() + outbox_pause;
    return std::min(outbox_turn, outbox.next_deadline());
  }

  bool is_member(const Address& address) const {
    return std::ranges::find(core.view().members, address) != core.view().members.end();
  }

  // Takes one thing that came in. What is not the group's is returned.
  std::optional<GroupEvent> take(Incoming incoming) {
    if (incoming.kind == Incoming::Kind::message && is_member(incoming.from)) {
      // A member that sends rubbish is not heard; that it should be excluded is not for us to
      // decide.
      static_cast<void>(core.on_message(incoming.from, incoming.payload));
      return std::nullopt;
    }
    if (incoming.kind == Incoming::Kind::message && core.view().number == 0) {
      early.push_back(std::move(incoming));  // a member that has the first view before us
      return std::nullopt;
    }
    if (incoming.kind == Incoming::Kind::peer_end && is_member(incoming.from)) {
      if (incoming.reason != Errc::peer_died) {
        outbox.on_broken(incoming.from, std::chrono::steady_clock::now());
      }
      return std::nullopt;
    }
    return incoming;
  }

  Endpoint endpoint;
  core::GroupOutbox outbox;
  core::GroupCore core;
  std::vector<Incoming> early;
};

Group::Group(Endpoint endpoint) : impl_(std::make_unique<Impl>(std::move(endpoint))) {}
Group::Group(Group&&) noexcept = default;
Group& Group::operator=(Group&&) noexcept = default;
Group::~Group() = default;

Endpoint& Group::endpoint() {
  return impl_->endpoint;
}

Result<GroupView> Group::static_view(Endpoint& endpoint, std::span<const std::string> names,
                                     Deadline deadline) {
  constexpr auto pause = std::chrono::milliseconds(20);
  GroupView view{.number = 1};
  for (const std::string& name : names) {
    auto found = endpoint.lookup(name, deadline);
    while (!found && found.error() == Errc::unknown_endpoint) {
      // The pause is a receive of nothing: no member speaks before it knows the view as well.
      timespec time{0, std::chrono::nanoseconds(pause).count()};
      nanosleep(&time, nullptr);
      if (std::chrono::steady_clock::now() >= deadline.at()) {
        return dvs::fail(Errc::deadline, "no endpoint is called \"" + name + "\" yet");
      }
      found = endpoint.lookup(name, deadline);
    }
    if (!found) return std::unexpected(found.error());
    view.members.push_back(*found);
  }
  return view;
}

Result<void> Group::install(const GroupView& view) {
  DVS_CHECK(impl_->core.install({view.number, view.members}));
  for (Incoming& incoming : std::exchange(impl_->early, {})) {
    static_cast<void>(impl_->take(std::move(incoming)));
  }
  for (const Address& member : view.members) {
    if (member != impl_->endpoint.address()) DVS_CHECK(impl_->endpoint.watch(member));
  }
  impl_->core.end_turn();
  impl_->empty_outbox();
  return {};
}

Result<std::uint64_t> Group::multicast(BytesView payload) {
  DVS_TRY(const std::uint64_t number, impl_->core.multicast(payload));
  impl_->core.end_turn();
  impl_->empty_outbox();
  return number;
}

Result<GroupEvent> Group::next(Deadline deadline) {
  while (true) {
    // All that is there is taken before anything is answered, so that it is answered together.
    while (true) {
      if (auto delivery = impl_->core.next_delivery()) {
        impl_->core.end_turn();
        impl_->empty_outbox();
        return to_public(*std::move(delivery));
      }
      auto incoming = impl_->endpoint.receive(Deadline::now());
      if (!incoming && incoming.error() == Errc::would_block) break;
      if (!incoming) return std::unexpected(incoming.error());
      if (auto other = impl_->take(*std::move(incoming))) return *std::move(other);
    }
    impl_->mend();
    impl_->core.end_turn();
    impl_->empty_outbox();
    if (auto delivery = impl_->core.next_delivery()) return to_public(*std::move(delivery));
    if (impl_->core.is_evicted()) return dvs::fail(Errc::not_permitted, "no longer a member");
    if (deadline.is_now()) return dvs::fail(Errc::would_block);
    const dvs::TimePoint turn_end = std::min(deadline.at(), impl_->next_turn());
    auto incoming = impl_->endpoint.receive(turn_end);
    if (incoming) {
      if (auto other = impl_->take(*std::move(incoming))) return *std::move(other);
    } else if (incoming.error() != Errc::deadline || turn_end == deadline.at()) {
      return std::unexpected(incoming.error());
    }
  }
}

}  // namespace dvk
