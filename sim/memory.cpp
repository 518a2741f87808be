#include "sim/memory.hpp"

#include <algorithm>

#include "sim/payload.hpp"

namespace sim {

using dvs::Errc;

Memory::Memory(std::size_t bytes, std::size_t slot_count, Random& random) : bytes_(bytes) {
  for (std::size_t i = 0; i < slot_count; ++i) {
    Slot slot{.offset = i * (bytes / slot_count), .bytes = bytes / slot_count};
    slot.access = random.one_in(2) ? Access::everything : static_cast<Access>(random.below(3));
    refill(slots_.emplace_back(std::move(slot)), random.next());
  }
}

void Memory::revoke(Slot& slot) {
  if (slot.grant != 0) grants_[slot.grant].is_revoked = true;
  slot.grant = 0;
}

void Memory::revoke_all() {
  for (Slot& slot : slots_) revoke(slot);
}

void Memory::grant_all(Random& random, std::optional<dvs::Address> grantee) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].grant != 0) continue;
    slots_[i].grant = next_grant_++;
    slots_[i].grantee = random.one_in(4) ? grantee : std::nullopt;
    grants_[slots_[i].grant] = {i, false};
  }
}

void Memory::refill(Slot& slot, std::uint64_t key) {
  slot.expected.resize(slot.bytes);
  fill_pattern(slot.expected, key);
  std::ranges::copy(slot.expected, bytes_.begin() + static_cast<std::ptrdiff_t>(slot.offset));
  slot.is_tainted = false;
}

bool Memory::is_as_expected(const Slot& slot) const {
  return std::ranges::equal(slot.expected, std::span(bytes_).subspan(slot.offset, slot.bytes));
}

dvs::Result<std::span<std::byte>> Memory::range(const dvs::Address& owner,
                                                const dvs::Address& orderer, std::uint64_t grant,
                                                std::uint64_t offset, std::size_t bytes,
                                                bool is_write) {
  const auto fits = [&](std::size_t room) { return offset <= room && bytes <= room - offset; };
  if (grant == 0) {
    if (owner != orderer) return dvs::fail(Errc::grant_denied);
    if (!fits(bytes_.size())) return dvs::fail(Errc::bad_address);
    return std::span(bytes_).subspan(offset, bytes);
  }
  const auto found = grants_.find(grant);
  if (found == grants_.end()) return dvs::fail(Errc::grant_denied);
  if (found->second.is_revoked) return dvs::fail(Errc::grant_revoked);
  const Slot& slot = slots_[found->second.slot];
  const bool is_allowed =
      slot.access == Access::everything || (slot.access == Access::only_write) == is_write;
  const bool is_for_it = !slot.grantee || *slot.grantee == orderer;
  if (!is_allowed || !is_for_it || !fits(slot.bytes)) return dvs::fail(Errc::grant_denied);
  return std::span(bytes_).subspan(slot.offset + offset, bytes);
}

}  // namespace sim
