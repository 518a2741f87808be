// The law of calls: each ends in exactly one way, and does end; a reply belongs to its call; a
// request is executed at most once; and an end that claims something about the peer or the path is
// true.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/node/policy.hpp"
#include "sim/judge.hpp"
#include "sim/lives.hpp"
#include "sim/payload.hpp"

namespace sim {

class CallChecker {
 public:
  CallChecker(Judge& judge, Lives& lives, const dvk::node::Policy& policy)
      : judge_(judge), lives_(lives), policy_(policy) {}

  // Something happened that may make paths be given up.
  void disrupted() { is_disrupted_ = true; }

  void started(const Address& from, std::uint64_t call, const Address& to, std::uint64_t number);
  // The server took the request.
  void executed(const Address& from, std::uint64_t call, const Address& server, const Stamp& stamp);
  void replied(const Address& from, std::uint64_t call, const Address& server);
  // The caller gave up (Errc::cancelled or deadline).
  void abandoned(const Address& from, std::uint64_t call, dvs::Errc why);
  void ended(const Address& from, std::uint64_t call, const dvs::Result<dvs::Bytes>& result);
  // The caller's life goes on under another address, or ended: its calls go with it.
  void forget(const Address& from);

  // A call of one that lives, to whomever, that has not ended.
  std::optional<std::pair<Address, Address>> find_pending() const;
  void check_at_end();
  bool is_permitted(const Address& from, const Address& to) const;
  // Whether an error that the library reports about a peer may be true.
  void check_reason(const Address& from, const Address& peer, dvs::Errc reason);

  std::uint64_t count() const { return count_; }

 private:
  struct Call {
    Address to;
    std::uint64_t number = 0;
    bool is_executed = false, is_replied = false, is_ended = false;
  };
  using Key = std::pair<Address, std::uint64_t>;

  Call* find(const Address& from, std::uint64_t call);
  void end(const Address& from, std::uint64_t call);
  void check_reply(const Address& from, std::uint64_t number, const Call& call,
                   dvs::BytesView reply);

  Judge& judge_;
  Lives& lives_;
  const dvk::node::Policy& policy_;
  bool is_disrupted_ = false;
  std::map<Key, Call> calls_;
  std::set<Key> open_;
  std::uint64_t count_ = 0;
};

}  // namespace sim
