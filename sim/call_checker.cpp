#include "sim/call_checker.hpp"

#include <fmt/format.h>

#include "base/assert.hpp"

namespace sim {

using dvs::Errc;

CallChecker::Call* CallChecker::find(const Address& from, std::uint64_t call) {
  const auto found = calls_.find({from, call});
  return found == calls_.end() ? nullptr : &found->second;
}

void CallChecker::started(const Address& from, std::uint64_t call, const Address& to,
                          std::uint64_t number) {
  ++count_;
  if (!calls_.try_emplace({from, call}, Call{to, number}).second) {
    return judge_.fail("calls", fmt::format("call number {} was given twice", call), {from, to});
  }
  open_.insert({from, call});
}

void CallChecker::executed(const Address& from, std::uint64_t call, const Address& server,
                           const Stamp& stamp) {
  Call* record = find(from, call);
  if (record == nullptr || record->to != server || record->number != stamp.number) {
    return judge_.fail("calls", fmt::format("a request for call {} that was not made", call),
                       {from, server});
  }
  if (record->is_executed) {
    return judge_.fail("at_most_once", fmt::format("call {} was executed twice", call),
                       {from, server});
  }
  record->is_executed = true;
}

void CallChecker::replied(const Address& from, std::uint64_t call, const Address& server) {
  Call* record = find(from, call);
  DVS_ASSERT(record != nullptr && record->to == server);
  record->is_replied = true;
}

void CallChecker::end(const Address& from, std::uint64_t call) {
  Call* record = find(from, call);
  if (record == nullptr || record->is_ended) {
    return judge_.fail("calls", fmt::format("call {} ended twice", call), {from});
  }
  record->is_ended = true;
  open_.erase({from, call});
}

void CallChecker::abandoned(const Address& from, std::uint64_t call, Errc) {
  end(from, call);
}

void CallChecker::ended(const Address& from, std::uint64_t call,
                        const dvs::Result<dvs::Bytes>& result) {
  end(from, call);
  const Call* record = find(from, call);
  if (record == nullptr) return;
  if (result) return check_reply(from, call, *record, *result);
  check_reason(from, record->to, result.error().code);
}

void CallChecker::check_reply(const Address& from, std::uint64_t number, const Call& call,
                              dvs::BytesView reply) {
  const auto stamp = read_payload(reply);
  const bool is_right = stamp && stamp->kind == StampKind::reply && stamp->number == number &&
                        stamp->from == dvs::raw(call.to.incarnation) &&
                        stamp->to == dvs::raw(from.incarnation);
  if (!is_right || !call.is_replied) {
    judge_.fail("reply", fmt::format("call {} got a reply that is not its own", number),
                {from, call.to});
  }
}

bool CallChecker::is_permitted(const Address& from, const Address& to) const {
  const Life* one = lives_.find(from);
  const Life* other = lives_.find(to);
  return one != nullptr && other != nullptr && from.container == to.container &&
         policy_.may_talk(from.container, {one->name, one->uid}, {other->name, other->uid});
}

void CallChecker::check_reason(const Address& from, const Address& peer, Errc reason) {
  const auto refuse = [&](std::string words) {
    judge_.fail("false_error", std::move(words), {from, peer});
  };
  switch (reason) {
    case Errc::peer_died:
      // An invented address dies with the node that it names.
      if (lives_.find(peer) == nullptr && !is_disrupted_) {
        return refuse("peer_died, of one that never lived");
      }
      return lives_.declare_dead(peer, from);
    case Errc::unreachable:
      // An invented address may name a node that does not exist.
      if (!is_disrupted_ && lives_.find(peer) != nullptr)
        refuse("unreachable, though no path was ever lost");
      return;
    case Errc::unknown_endpoint:
      if (lives_.find(peer) != nullptr) refuse("unknown_endpoint, of one that has lived");
      return;
    case Errc::not_permitted:
      if (is_permitted(from, peer)) refuse("not_permitted, of one that it may talk to");
      return;
    default: return refuse("a peer's end of an undocumented kind: " + std::string(name_of(reason)));
  }
}

void CallChecker::forget(const Address& from) {
  const auto first = open_.lower_bound({from, 0});
  auto last = first;
  while (last != open_.end() && last->first == from) ++last;
  open_.erase(first, last);
}

std::optional<std::pair<Address, Address>> CallChecker::find_pending() const {
  for (const auto& [from, call] : open_) {
    if (lives_.is_alive(from)) return std::pair{from, calls_.at({from, call}).to};
  }
  return std::nullopt;
}

void CallChecker::check_at_end() {
  if (const auto pending = find_pending()) {
    judge_.fail("endless_wait", "a call has not ended", {pending->first, pending->second});
  }
}

}  // namespace sim
