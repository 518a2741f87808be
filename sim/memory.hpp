// The memory of an application as copies see it: slots with grants, and beside each what ought to
// be in it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "sim/random.hpp"

namespace sim {

class Memory {
 public:
  enum class Access : std::uint8_t { everything, only_read, only_write };
  struct Slot {
    std::size_t offset = 0, bytes = 0;
    std::uint64_t grant = 0;  // 0: none now
    Access access{};
    std::optional<dvs::Address> grantee{};  // nothing: everybody
    unsigned readers = 0;                   // copies under way from here
    bool is_target = false;                 // one is under way to here
    bool is_tainted = false;                // a copy to here failed: anything may be in it
    dvs::Bytes expected{};
  };

  Memory(std::size_t bytes, std::size_t slot_count, Random& random);

  std::vector<Slot>& slots() { return slots_; }
  // Revokes every grant, or that of one slot. Only after a barrier is it certain that nobody
  // touches it.
  void revoke_all();
  void revoke(Slot& slot);
  // Gives grants, under new numbers, to all slots that have none; `grantee` gets some for itself
  // alone.
  void grant_all(Random& random, std::optional<dvs::Address> grantee);
  // New contents, no longer tainted.
  void refill(Slot& slot, std::uint64_t key);
  bool is_as_expected(const Slot& slot) const;

  // What the broker allows: the range for `orderer`, an endpoint that may be `owner` itself (grant
  // 0).
  dvs::Result<std::span<std::byte>> range(const dvs::Address& owner, const dvs::Address& orderer,
                                          std::uint64_t grant, std::uint64_t offset,
                                          std::size_t bytes, bool is_write);

 private:
  struct Grant {
    std::size_t slot = 0;
    bool is_revoked = false;
  };

  dvs::Bytes bytes_;
  std::vector<Slot> slots_;
  std::map<std::uint64_t, Grant> grants_;
  std::uint64_t next_grant_ = 1;
};

}  // namespace sim
