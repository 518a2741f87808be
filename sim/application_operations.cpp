// What an application does of its own accord.
#include <algorithm>

#include "sim/application.hpp"

namespace sim {

using dvk::core::EndpointCore;
using dvs::Errc;
using std::chrono::milliseconds;

namespace {

constexpr std::size_t open_calls_max = 8;
// Bits up to here are set again and again, each of the others once per pair: that one is missing is
// then certain.
constexpr std::uint64_t repeated_bits = 0xFFFF;
// Serial numbers that no machine ever reaches.
constexpr std::uint64_t invented_serial = std::uint64_t{1} << 40;

}  // namespace

void Application::operate() {
  // When the world has healed only what has begun is brought to its end.
  if (!is_running() || context_.is_healed || !library().is_active()) return;
  if (const Instant ready = process_->ready_at(); ready > context_.now()) {
    return operate_alarm_.set(ready);
  }
  context_.lives.acts(address_, process_);
  const Traffic& traffic = context_.scenario.traffic;
  std::uint64_t choice = random().below(traffic.message + traffic.call + traffic.notify +
                                        traffic.copy + traffic.lookup + traffic.watch);
  const auto is_chosen = [&](unsigned share) {
    if (choice < share) return true;
    choice -= share;
    return false;
  };
  if (random().permille(traffic.forged_permille)) {
    forge();
  } else if (is_chosen(traffic.message)) {
    send_messages();
  } else if (is_chosen(traffic.call)) {
    make_call();
  } else if (is_chosen(traffic.notify)) {
    set_bits();
  } else if (is_chosen(traffic.copy)) {
    copy();
  } else if (is_chosen(traffic.lookup)) {
    look_up();
  } else {
    watch();
  }
  for (auto& [group, member] : groups_) {
    if (random().one_in(3)) member->multicast();
  }
  library().settle();
  plan_timers();
  operate_alarm_.set(context_.now() + random().about(traffic.operation_interval));
}

// --- Whom to talk to ---

// Mostly the same few, so that there is something under way when trouble comes.
Address Application::choose_peer() {
  std::erase_if(favourites_, [&](const Address& peer) { return !context_.lives.is_alive(peer); });
  if (random().permille(40)) return choose_strange_peer();
  const auto others = population_.alive(address_.container);
  while (favourites_.size() < habits_.favourites && others.size() > 1) {
    favourites_.push_back(random().pick(others));
  }
  if (favourites_.size() > 6) favourites_.erase(favourites_.begin());
  if (!favourites_.empty() && random().permille(850)) return random().pick(favourites_);
  return others.empty() ? address_ : random().pick(others);
}

// One that is dead, in another container, or never was; or itself.
Address Application::choose_strange_peer() {
  switch (random().below(4)) {
    case 0: return random().pick(context_.lives.all());
    case 1: {
      const auto foreign = population_.alive(dvs::ContainerId{3 - dvs::raw(address_.container)});
      return foreign.empty() ? address_ : random().pick(foreign);
    }
    case 2: {
      const std::uint64_t node = random().between(1, context_.scenario.nodes + 1);
      const std::uint64_t serial = node << dvs::serial_bits | (invented_serial + random().below(4));
      return {address_.container, dvs::EndpointId{serial}, dvs::Incarnation{serial}};
    }
    default: return address_;
  }
}

std::size_t Application::choose_bytes() {
  if (random().permille(context_.scenario.traffic.large_permille)) {
    return random().between(payload_bytes_min, dvk::wire::max_message_bytes);
  }
  return random().between(payload_bytes_min, 400);
}

// The library refused to talk to `peer`: only for a reason.
void Application::check_refusal(const Address& peer, const dvs::Error& error) {
  const bool is_no_peer = peer == address_ || peer.container != address_.container;
  if (error == Errc::queue_full || (error == Errc::invalid_argument && is_no_peer)) return;
  context_.calls.check_reason(address_, peer, error.code);
}

// --- Operations ---

void Application::send_messages() {
  const Address peer = choose_peer();
  for (std::uint64_t left = random().one_in(3) ? random().between(1, 20) : 1; left != 0; --left) {
    const std::size_t bytes = choose_bytes();
    const std::uint64_t number = context_.messages.next_number(address_, peer);
    const Stamp stamp{dvs::raw(address_.incarnation), dvs::raw(peer.incarnation), number,
                      StampKind::message, static_cast<std::uint32_t>(bytes)};
    const auto result = core().send(peer, make_payload(stamp), library().now());
    if (!result) return check_refusal(peer, result.error());
    context_.messages.sent(address_, peer, StampKind::message, bytes);
    context_.record({.what = Happening::sent,
                     .from = address_,
                     .to = peer,
                     .a = static_cast<std::uint64_t>(StampKind::message),
                     .b = number,
                     .c = bytes});
  }
}

void Application::make_call() {
  if (calls_.size() >= open_calls_max) return;
  const Address peer = choose_peer();
  const std::size_t bytes = choose_bytes();
  const std::uint64_t number = context_.messages.next_number(address_, peer);
  const Stamp stamp{dvs::raw(address_.incarnation), dvs::raw(peer.incarnation), number,
                    StampKind::request, static_cast<std::uint32_t>(bytes)};
  const auto call = core().start_call(peer, make_payload(stamp), library().now());
  if (!call) return check_refusal(peer, call.error());
  context_.messages.sent(address_, peer, StampKind::request, bytes);
  context_.calls.started(address_, *call, peer, number);
  context_.record({.what = Happening::sent,
                   .from = address_,
                   .to = peer,
                   .a = static_cast<std::uint64_t>(StampKind::request),
                   .b = number,
                   .c = *call});
  OpenCall open{.to = peer, .number = number};
  if (random().one_in(4)) {
    open.give_up_at = context_.now() + random().about(milliseconds(20));
    open.why = random().one_in(2) ? Errc::cancelled : Errc::deadline;
  }
  calls_[*call] = open;
}

void Application::set_bits() {
  const Address peer = choose_peer();
  const std::uint64_t fresh = context_.messages.fresh_bits(address_, peer) & ~repeated_bits;
  std::uint64_t bits = random().next() & random().next() & repeated_bits;
  if (random().one_in(2)) bits |= fresh & -fresh;  // the lowest that was never set
  if (bits == 0) bits = 1;
  const auto result = core().notify(peer, bits, library().now());
  if (!result) return check_refusal(peer, result.error());
  context_.messages.notified(address_, peer, bits);
  context_.record({.what = Happening::notified, .from = address_, .to = peer, .a = bits});
}

void Application::look_up() {
  if (population_.names().empty()) return;
  const std::string& name = random().pick(population_.names());
  lookups_[library().look_up(name)] = {
      .name = {address_.container, name}, .asker = address_, .began = context_.now()};
}

void Application::watch() {
  const Address peer = choose_peer();
  if (peer == address_ || peer.container != address_.container) return;
  core().watch(peer, library().now());
  on_mail();  // one that is dead already is told at once
  if (context_.lives.find(peer) != nullptr) watched_.insert(peer);
}

// A slot of the owner's memory that is free for this, if there is one.
std::optional<CopyChecker::Side> Application::choose_side(const Address& owner, bool is_target,
                                                          std::size_t bytes) {
  Memory* memory = population_.memory_of(owner);
  if (memory == nullptr) return std::nullopt;
  const std::size_t index = random().below(memory->slots().size());
  const Memory::Slot& slot = memory->slots()[index];
  const bool is_free = !slot.is_target && !slot.is_tainted && (!is_target || slot.readers == 0);
  if (!is_free || slot.grant == 0 || bytes > slot.bytes) return std::nullopt;
  return CopyChecker::Side{owner, memory, index, random().below(slot.bytes - bytes + 1)};
}

void Application::copy() {
  if (!memory_ || move_target_) return;
  const std::size_t bytes = 1 + random().below(memory_->slots().front().bytes);
  const Address from = random().one_in(3) ? address_ : choose_peer();
  const Address to = random().one_in(3) ? address_ : choose_peer();
  const auto source = choose_side(from, false, bytes);
  const auto target = choose_side(to, true, bytes);
  if (!source || !target || &source->entry() == &target->entry()) return;
  CopyChecker::Order order{address_, *source, *target, bytes};
  dvk::wire::CopyOrder wire{.source = from, .target = to};
  wire.bytes = bytes;
  const auto name_side = [&](const CopyChecker::Side& side, bool is_target, std::uint64_t& grant,
                             std::uint64_t& offset) {
    const Memory::Slot& slot = side.entry();
    grant = side.owner == address_ ? 0 : slot.grant;
    offset = grant == 0 ? slot.offset + side.offset : side.offset;
    if (grant == 0) return;
    const auto wanted = is_target ? Memory::Access::only_write : Memory::Access::only_read;
    const bool is_granted = slot.access == Memory::Access::everything || slot.access == wanted;
    if (!is_granted || (slot.grantee && *slot.grantee != address_)) order.must_fail = true;
    if (random().one_in(20)) {
      offset = slot.bytes - bytes + 1;  // one byte too far
      order.must_fail = true;
    }
  };
  name_side(*source, false, wire.source_grant, wire.source_offset);
  name_side(*target, true, wire.target_grant, wire.target_offset);
  const std::uint64_t number = library().order_copy(wire);
  context_.copies.ordered(number, order);
  context_.record(
      {.what = Happening::copy_ordered, .from = from, .to = to, .a = number, .b = bytes});
}

// A packet as no library makes it: of another source, to another container, of another kind.
void Application::forge() {
  dvk::wire::PacketHeader header;
  header.kind =
      random().one_in(2) ? dvk::wire::PacketKind::message : dvk::wire::PacketKind::copy_result;
  header.epoch = 1;
  header.sequence = random().between(1, 3);
  const Address target = random().pick(context_.lives.all());
  const Address source = random().one_in(2) ? address_ : random().pick(context_.lives.all());
  header.set_target(target);
  header.set_source(source);
  header.container = dvs::raw(random().one_in(2) ? target.container : source.container);
  dvs::Bytes payload(16);
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  // Its own conversation with the target would suffer, and rightly; so only where there is none.
  if (context_.messages.next_number(address_, target) != 1) return;
  if (target.container == address_.container) return;
  library().forge(header, std::move(payload));
}

}  // namespace sim
