#include "sim/copy_checker.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace sim {

void CopyChecker::ordered(std::uint64_t copy, const Order& order) {
  ++order.source.entry().readers;
  order.target.entry().is_target = true;
  orders_[{order.orderer, copy}] = order;
}

void CopyChecker::release(const Order& order, bool is_good) {
  --order.source.entry().readers;
  order.target.entry().is_target = false;
  if (!is_good) order.target.entry().is_tainted = true;
}

void CopyChecker::ended(const dvs::Address& orderer, std::uint64_t copy, dvs::Errc error) {
  const auto found = orders_.find({orderer, copy});
  if (found == orders_.end()) {
    return judge_.fail("copies", fmt::format("copy {} ended twice or was never ordered", copy),
                       {orderer});
  }
  const Order order = found->second;
  orders_.erase(found);
  ++count_;
  const bool is_good = error == dvs::Errc{};
  release(order, is_good);
  if (!is_good) return;
  if (order.must_fail) {
    return judge_.fail("grants", fmt::format("copy {} succeeded without a grant", copy),
                       {orderer, order.source.owner, order.target.owner});
  }
  Memory::Slot& target = order.target.entry();
  std::copy_n(
      order.source.entry().expected.begin() + static_cast<std::ptrdiff_t>(order.source.offset),
      order.bytes, target.expected.begin() + static_cast<std::ptrdiff_t>(order.target.offset));
  if (!target.is_tainted && !order.target.memory->is_as_expected(target)) {
    judge_.fail(
        "copies",
        fmt::format("copy {} of {} bytes was reported complete and is not", copy, order.bytes),
        {orderer, order.source.owner, order.target.owner});
  }
}

void CopyChecker::forget(const dvs::Address& orderer) {
  auto order = orders_.lower_bound({orderer, 0});
  while (order != orders_.end() && order->first.first == orderer) {
    release(order->second, false);
    order = orders_.erase(order);
  }
}

void CopyChecker::check_memory(const dvs::Address& owner, Memory& memory) {
  for (const Memory::Slot& slot : memory.slots()) {
    if (slot.is_target || slot.is_tainted || memory.is_as_expected(slot)) continue;
    judge_.fail("copies", "memory was changed that no copy should have touched", {owner});
  }
}

std::optional<dvs::Address> CopyChecker::find_pending() const {
  if (orders_.empty()) return std::nullopt;
  return orders_.begin()->first.first;
}

}  // namespace sim
