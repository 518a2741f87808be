#include "dvk/grant/grant_table.hpp"

#include <array>
#include <atomic>

namespace dvk::grant {

// Every field is atomic: owner and readers use them at the same time. `version` is odd while the
// owner changes the slot (a sequence lock). The grant's number is generation * slots + slot, so a
// slot that is used again refuses the numbers it had before.
struct Slot {
  std::atomic<std::uint64_t> version;
  std::atomic<std::uint64_t> generation;
  std::atomic<std::uint64_t> address;
  std::atomic<std::uint64_t> bytes;
  std::atomic<std::uint64_t> to_id;
  std::atomic<std::uint64_t> to_incarnation;
  std::atomic<std::uint32_t> access;  // 0: revoked
  std::uint32_t reserved;
  std::uint64_t reserved2;
};
static_assert(sizeof(Slot) == 64);

constexpr std::size_t slot_count = grants_max + 1;
struct Page {
  std::array<Slot, slot_count> slots;
};
static_assert(sizeof(Page) == 65536);

namespace {

// Of a slot that keeps changing: then its owner is playing games.
constexpr unsigned reads_max = 1000;

struct Snapshot {
  std::uint64_t generation, address, bytes, to_id, to_incarnation;
  std::uint32_t access;
};

// Acquire on every field keeps the loads in program order, so a change in between shows in
// `version`.
bool take_snapshot(const Slot& slot, Snapshot& out) {
  for (unsigned i = 0; i < reads_max; ++i) {
    const std::uint64_t before = slot.version.load(std::memory_order_acquire);
    out = {slot.generation.load(std::memory_order_acquire),
           slot.address.load(std::memory_order_acquire),
           slot.bytes.load(std::memory_order_acquire),
           slot.to_id.load(std::memory_order_acquire),
           slot.to_incarnation.load(std::memory_order_acquire),
           slot.access.load(std::memory_order_acquire)};
    if (before % 2 == 0 && slot.version.load(std::memory_order_acquire) == before) return true;
  }
  return false;
}

// Release ordering on every field: a reader that sees any of the new values sees the odd version
// too.
void change(Slot& slot, const Snapshot& to) {
  const std::uint64_t version = slot.version.load(std::memory_order_relaxed);
  slot.version.store(version + 1, std::memory_order_release);
  slot.generation.store(to.generation, std::memory_order_release);
  slot.address.store(to.address, std::memory_order_release);
  slot.bytes.store(to.bytes, std::memory_order_release);
  slot.to_id.store(to.to_id, std::memory_order_release);
  slot.to_incarnation.store(to.to_incarnation, std::memory_order_release);
  slot.access.store(to.access, std::memory_order_release);
  slot.version.store(version + 2, std::memory_order_release);
}

}  // namespace

GrantTable::GrantTable(dvs::runtime::PublishedMemory memory) noexcept
    : memory_(std::move(memory)), page_(reinterpret_cast<Page*>(memory_.mapping.data())) {}

Result<GrantTable> GrantTable::create() {
  DVS_TRY(auto memory, dvs::runtime::create_published_memory("dvk-grants", sizeof(Page)));
  return GrantTable(std::move(memory));
}

Result<std::uint64_t> GrantTable::give(std::uint64_t address, std::uint64_t bytes, Access access,
                                       const Address& to) {
  if (address + bytes < address) return dvs::fail(Errc::invalid_argument, "range wraps around");
  for (std::size_t tried = 0; tried < slot_count; ++tried) {
    next_slot_ = (next_slot_ + 1) % slot_count;
    Slot& slot = page_->slots[next_slot_];
    if (slot.access.load(std::memory_order_relaxed) != 0) continue;
    const std::uint64_t generation = slot.generation.load(std::memory_order_relaxed) + 1;
    change(slot, {generation, address, bytes, dvs::raw(to.id), dvs::raw(to.incarnation),
                  static_cast<std::uint32_t>(access)});
    return generation * slot_count + next_slot_;
  }
  return dvs::fail(Errc::queue_full, "an endpoint can give at most " + std::to_string(grants_max) +
                                         " grants at a time; revoke some");
}

Result<void> GrantTable::revoke(std::uint64_t grant) {
  Slot& slot = page_->slots[grant % slot_count];
  const std::uint64_t generation = slot.generation.load(std::memory_order_relaxed);
  const bool is_revoked = slot.access.load(std::memory_order_relaxed) == 0;
  if (grant / slot_count == 0 || grant / slot_count > generation) {
    return dvs::fail(Errc::grant_denied, "no such grant");
  }
  if (grant / slot_count < generation || is_revoked) return dvs::fail(Errc::grant_revoked);
  change(slot, {generation, 0, 0, 0, 0, 0});
  return {};
}

Result<GrantView> GrantView::attach(int page_fd) {
  DVS_TRY(auto mapping,
          dvs::runtime::Mapping::map(page_fd, sizeof(Page), dvs::runtime::Access::read_only));
  return GrantView(std::move(mapping));
}

Result<std::uint64_t> GrantView::check(std::uint64_t grant, const Address& who,
                                       std::uint64_t offset, std::uint64_t bytes,
                                       Access access) const {
  const auto* page = reinterpret_cast<const Page*>(mapping_.data());
  Snapshot slot{};
  if (!take_snapshot(page->slots[grant % slot_count], slot)) return dvs::fail(Errc::grant_denied);
  const std::uint64_t generation = grant / slot_count;
  if (generation == 0 || generation > slot.generation) {
    return dvs::fail(Errc::grant_denied, "no such grant");
  }
  if (generation < slot.generation || slot.access == 0) return dvs::fail(Errc::grant_revoked);
  const bool is_for_all = slot.to_id == 0;
  const bool is_for_it =
      slot.to_id == dvs::raw(who.id) && slot.to_incarnation == dvs::raw(who.incarnation);
  if (!is_for_all && !is_for_it) return dvs::fail(Errc::grant_denied, "given to another endpoint");
  if ((slot.access & static_cast<std::uint32_t>(access)) != static_cast<std::uint32_t>(access)) {
    return dvs::fail(Errc::grant_denied, "the grant is for the other direction");
  }
  if (offset > slot.bytes || bytes > slot.bytes - offset) {
    return dvs::fail(Errc::grant_denied, "beyond the granted range");
  }
  return slot.address + offset;
}

}  // namespace dvk::grant
