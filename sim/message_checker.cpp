#include "sim/message_checker.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace sim {

std::uint64_t MessageChecker::next_number(const Address& from, const Address& to) {
  return pairs_[{from, to}].items.size() + 1;
}

void MessageChecker::sent(const Address& from, const Address& to, StampKind kind,
                          std::size_t bytes) {
  Pair& pair = pairs_[{from, to}];
  const auto cost = static_cast<std::uint32_t>(bytes + limits_.packet_cost);
  pair.items.push_back({cost, kind});
  pair.outstanding_cost += cost;
  // One item of any size is taken when nothing else waits.
  const std::uint64_t largest = dvk::wire::max_message_bytes + limits_.packet_cost;
  const std::uint64_t bound = std::max(limits_.send_queue_cost, largest) + limits_.window_cost;
  if (pair.outstanding_cost > bound) {
    judge_.fail(
        "bounded_queues",
        fmt::format("{} bytes are under way, at most {} should be", pair.outstanding_cost, bound),
        {from, to});
  }
}

void MessageChecker::settle(Pair& pair, std::size_t index) {
  Item& item = pair.items[index];
  if (!item.is_settled && index >= pair.first_open) pair.outstanding_cost -= item.cost;
  item.is_settled = true;
  while (pair.first_unsettled < pair.items.size() && (pair.items[pair.first_unsettled].is_settled ||
                                                      pair.items[pair.first_unsettled].is_lost)) {
    ++pair.first_unsettled;
  }
  while (pair.first_open < pair.items.size() && pair.items[pair.first_open].is_settled) {
    ++pair.first_open;
  }
}

void MessageChecker::taken(const Address& from, const Address& to, const Stamp& stamp,
                           const dvk::core::EndpointCore::Filter& filter) {
  Pair& pair = pairs_[{from, to}];
  if (stamp.from != dvs::raw(from.incarnation) || stamp.to != dvs::raw(to.incarnation) ||
      stamp.number == 0 || stamp.number > pair.items.size()) {
    return judge_.fail("content", "something was delivered that was never sent to here",
                       {from, to});
  }
  const std::size_t index = stamp.number - 1;
  if (pair.items[index].is_delivered) {
    return judge_.fail("at_most_once", fmt::format("number {} was delivered twice", stamp.number),
                       {from, to});
  }
  check_order({from, to}, pair, index, filter.only_requests);
  pair.items[index].is_delivered = true;
  settle(pair, index);
  ++delivered_;
}

// What was sent before it must have come before it, unless a break lies between; and then it must
// never come.
void MessageChecker::check_order(const Key& key, Pair& pair, std::size_t index,
                                 bool only_requests) {
  std::uint64_t skipped = 0;
  for (std::size_t i = pair.first_unsettled; i < index; ++i) {
    Item& item = pair.items[i];
    if (item.is_settled || (only_requests && item.kind != StampKind::request)) continue;
    item.is_lost = true;
    skipped = i + 1;
  }
  const std::uint64_t number = index + 1;
  const bool is_excused = std::ranges::any_of(
      pair.breaks, [&](std::uint64_t mark) { return mark >= skipped && mark < number; });
  if ((skipped != 0 && !is_excused) || pair.items[index].is_lost) {
    judge_.fail(
        "fifo",
        fmt::format("number {} was delivered out of order, {} was skipped", number, skipped),
        {key.first, key.second});
  }
}

void MessageChecker::cancelled(const Address& from, const Address& to, std::uint64_t number) {
  settle(pairs_[{from, to}], number - 1);
}

void MessageChecker::notified(const Address& from, const Address& to, std::uint64_t bits) {
  Pair& pair = pairs_[{from, to}];
  ++pair.steps;
  for (; bits != 0; bits &= bits - 1) {
    Bit& bit = pair.bits[static_cast<unsigned>(std::countr_zero(bits))];
    ++bit.sets;
    bit.last_set = pair.steps;
  }
}

void MessageChecker::notify_taken(const Address& from, const Address& to, std::uint64_t bits) {
  Pair& pair = pairs_[{from, to}];
  ++pair.steps;
  for (; bits != 0; bits &= bits - 1) {
    const auto number = static_cast<unsigned>(std::countr_zero(bits));
    Bit& bit = pair.bits[number];
    if (++bit.deliveries > bit.sets) {
      return judge_.fail("notify", fmt::format("bit {} was delivered more often than set", number),
                         {from, to});
    }
    bit.last_delivery = pair.steps;
  }
  ++delivered_;
}

std::uint64_t MessageChecker::fresh_bits(const Address& from, const Address& to) {
  std::uint64_t used = 0;
  for (const auto& [number, bit] : pairs_[{from, to}].bits) used |= std::uint64_t{1} << number;
  return ~used;
}

void MessageChecker::broken(const Address& from, const Address& to) {
  const auto found = pairs_.find({from, to});
  if (found == pairs_.end()) return;
  Pair& pair = found->second;
  pair.breaks.push_back(pair.items.size());
  pair.first_open = pair.items.size();
  pair.outstanding_cost = 0;
  pair.last_break = ++pair.steps;
}

void MessageChecker::told(const Address& from, const Address& to, std::uint64_t lost) {
  pairs_[{from, to}].lost_told += lost;
}

// The last time it was set no delivery and no break has followed.
bool MessageChecker::is_notify_pending(const Pair& pair, const Bit& bit) {
  return bit.last_delivery < bit.last_set && pair.last_break < bit.last_set;
}

bool MessageChecker::is_pending(const Pair& pair) const {
  return pair.first_open < pair.items.size() ||
         std::ranges::any_of(pair.bits,
                             [&](const auto& bit) { return is_notify_pending(pair, bit.second); });
}

bool MessageChecker::is_pending(const Address& from, const Address& to) const {
  const auto found = pairs_.find({from, to});
  return found != pairs_.end() && is_pending(found->second);
}

std::optional<std::pair<Address, Address>> MessageChecker::find_pending() {
  for (const auto& [key, pair] : pairs_) {
    if (is_pending(pair) && lives_.is_alive(key.first) && lives_.is_alive(key.second)) return key;
  }
  return std::nullopt;
}

void MessageChecker::check_lost(const Key& key, const Pair& pair) {
  std::uint64_t lost = 0;
  for (const Item& item : pair.items) {
    if (!item.is_settled && item.kind == StampKind::message) ++lost;
  }
  if (std::ranges::any_of(pair.bits, [](const auto& bit) { return bit.second.deliveries == 0; })) {
    ++lost;
  }
  if (lost > pair.lost_told) {
    judge_.fail("silent_loss",
                fmt::format("at least {} messages or notifies were lost, {} were reported", lost,
                            pair.lost_told),
                {key.first, key.second});
  }
}

void MessageChecker::check_at_end() {
  for (const auto& [key, pair] : pairs_) {
    if (!lives_.is_alive(key.first) || !lives_.is_alive(key.second)) continue;
    if (is_pending(pair)) {
      judge_.fail("silent_loss", "something was neither delivered nor reported lost",
                  {key.first, key.second});
    }
    check_lost(key, pair);
  }
}

}  // namespace sim
