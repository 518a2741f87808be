// The delivery law for what one life sends to another: messages and requests in one order, at most
// once, exactly once unless a break was reported and counted; notify bits at least once, and no
// more often than they were set; and no more under way than the bounds of the queues allow.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "dvk/core/endpoint_core.hpp"
#include "sim/judge.hpp"
#include "sim/lives.hpp"
#include "sim/payload.hpp"

namespace sim {

class MessageChecker {
 public:
  MessageChecker(Judge& judge, const Lives& lives, const dvk::core::Limits& limits)
      : judge_(judge), lives_(lives), limits_(limits) {}

  // The number that the next message or request of the pair has.
  std::uint64_t next_number(const Address& from, const Address& to);
  // The library accepted it.
  void sent(const Address& from, const Address& to, StampKind kind, std::size_t bytes);
  void taken(const Address& from, const Address& to, const Stamp& stamp,
             const dvk::core::EndpointCore::Filter& filter);
  // The caller no longer wants the request; whether it is still delivered is open.
  void cancelled(const Address& from, const Address& to, std::uint64_t number);

  void notified(const Address& from, const Address& to, std::uint64_t bits);
  void notify_taken(const Address& from, const Address& to, std::uint64_t bits);
  // Bits that were never set from here to there.
  std::uint64_t fresh_bits(const Address& from, const Address& to);

  // The conversation was broken off at the sender's end; what is not delivered by now may be lost.
  void broken(const Address& from, const Address& to);
  // The sender's application was told of so many lost messages and notifies.
  void told(const Address& from, const Address& to, std::uint64_t lost);

  // What must still happen between two that live; none: everything is delivered or accounted for.
  std::optional<std::pair<Address, Address>> find_pending();
  // Messages, requests or notifies that were neither delivered nor given up.
  bool is_pending(const Address& from, const Address& to) const;
  void check_at_end();
  std::uint64_t delivered() const { return delivered_; }

 private:
  struct Item {
    std::uint32_t cost = 0;
    StampKind kind{};
    bool is_settled = false;  // delivered, or cancelled
    bool is_delivered = false;
    bool is_lost = false;  // something sent after it came instead
  };
  struct Bit {
    std::uint32_t sets = 0, deliveries = 0;
    std::uint64_t last_set = 0, last_delivery = 0;  // in the order of all steps of the pair
  };
  struct Pair {
    std::vector<Item> items;            // number 1 first
    std::size_t first_open = 0;         // all before are settled or excused
    std::size_t first_unsettled = 0;    // all before are settled or lost
    std::vector<std::uint64_t> breaks;  // numbers of the last item sent before each
    std::uint64_t lost_told = 0;
    std::uint64_t outstanding_cost = 0;
    std::map<unsigned, Bit> bits;
    std::uint64_t steps = 0;
    std::uint64_t last_break = 0;  // step
  };
  using Key = std::pair<Address, Address>;

  void settle(Pair& pair, std::size_t index);
  void check_order(const Key& key, Pair& pair, std::size_t index, bool only_requests);
  bool is_pending(const Pair& pair) const;
  static bool is_notify_pending(const Pair& pair, const Bit& bit);
  void check_lost(const Key& key, const Pair& pair);

  Judge& judge_;
  const Lives& lives_;
  const dvk::core::Limits& limits_;
  std::map<Key, Pair> pairs_;
  std::uint64_t delivered_ = 0;
};

}  // namespace sim
