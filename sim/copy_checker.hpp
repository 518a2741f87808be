// The law of copies: complete and correct, or an error; never without a grant; and whatever a
// failed copy left behind, nothing touches the memory after a barrier.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include <dvs/error.hpp>
#include <dvs/ids.hpp>

#include "sim/judge.hpp"
#include "sim/memory.hpp"

namespace sim {

class CopyChecker {
 public:
  explicit CopyChecker(Judge& judge) : judge_(judge) {}

  struct Side {
    dvs::Address owner;
    Memory* memory = nullptr;
    std::size_t slot = 0;
    std::size_t offset = 0;  // in the slot
    Memory::Slot& entry() const { return memory->slots()[slot]; }
  };
  struct Order {
    dvs::Address orderer;
    Side source, target;
    std::size_t bytes = 0;
    bool must_fail = false;  // no grant allows it
  };

  void ordered(std::uint64_t copy, const Order& order);
  void ended(const dvs::Address& orderer, std::uint64_t copy, dvs::Errc error);
  // The orderer ended, and its orders with it.
  void forget(const dvs::Address& orderer);
  // Nothing may have touched what is not tainted and not being written.
  void check_memory(const dvs::Address& owner, Memory& memory);

  std::optional<dvs::Address> find_pending() const;
  std::uint64_t count() const { return count_; }

 private:
  void release(const Order& order, bool is_good);

  Judge& judge_;
  std::map<std::pair<dvs::Address, std::uint64_t>, Order> orders_;
  std::uint64_t count_ = 0;
};

}  // namespace sim
