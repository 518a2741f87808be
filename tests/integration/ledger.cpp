#include "integration/ledger.hpp"

#include <algorithm>

#include "integration/pattern.hpp"

namespace integration {
namespace {

using dvk::Endpoint;
using dvk::Incoming;

[[noreturn]] void complain(const std::string& what) {
  throw std::runtime_error(what);
}

// Number `number` and as many bytes more as it says, of a pattern that belongs to it.
dvk::Bytes numbered(std::uint64_t number) {
  const std::size_t more = number % 97 == 0 ? 60'000 : number % 1500;
  dvk::Bytes payload(sizeof number + more);
  std::memcpy(payload.data(), &number, sizeof number);
  fill_pattern(std::span(payload).subspan(sizeof number), number);
  return payload;
}

void check_number(const Incoming& incoming, std::uint64_t due, const char* what) {
  std::uint64_t number = 0;
  if (incoming.payload.size() >= sizeof number) {
    std::memcpy(&number, incoming.payload.data(), sizeof number);
  }
  if (number != due) {
    complain(std::string(what) + " " + std::to_string(number) + " of " + to_string(incoming.from) +
             " came where " + std::to_string(due) + " was due");
  }
  if (incoming.payload != numbered(number)) complain(std::string(what) + " with other contents");
}

// What nobody but the receiver may send to a load client, beside notifies.
void expect_nothing(Endpoint& endpoint) {
  const auto incoming = endpoint.receive(dvk::Deadline::now());
  if (!incoming) {
    if (incoming.error() != dvk::Errc::would_block) complain(to_string(incoming.error()));
    return;
  }
  complain("a load client received something of kind " +
           std::to_string(static_cast<int>(incoming->kind)) + ", reason " +
           std::string(name_of(incoming->reason)) + ", lost " + std::to_string(incoming->lost));
}

}  // namespace

void Ledger::take(Endpoint& endpoint, const Incoming& incoming) {
  Seen& seen = seen_[incoming.from];
  switch (incoming.kind) {
    case Incoming::Kind::message: return check_number(incoming, ++seen.messages, "message");
    case Incoming::Kind::request:
      check_number(incoming, ++seen.calls, "request");
      return must(endpoint.reply(incoming, incoming.payload), "reply");
    case Incoming::Kind::notify:
      seen.notifies += static_cast<std::uint64_t>(std::popcount(incoming.bits));
      return must(endpoint.notify(incoming.from, incoming.bits), "notify back");
    case Incoming::Kind::peer_end:
      // Load clients leave when they are done; then nothing of theirs may be under way.
      if (incoming.reason == dvk::Errc::peer_died && incoming.lost == 0) return;
      complain("lost " + std::to_string(incoming.lost) + ": " +
               std::string(name_of(incoming.reason)));
    case Incoming::Kind::promoted: complain("promoted, and no backup");
  }
}

dvk::Bytes Ledger::save() const {
  dvk::Bytes state;
  for (const auto& entry : seen_) {
    const auto bytes = std::as_bytes(std::span(&entry, 1));
    state.insert(state.end(), bytes.begin(), bytes.end());
  }
  return state;
}

Ledger Ledger::load(dvk::BytesView state) {
  Ledger ledger;
  using Entry = std::pair<dvk::Address, Seen>;
  for (; state.size() >= sizeof(Entry); state = state.subspan(sizeof(Entry))) {
    Entry entry;
    std::memcpy(static_cast<void*>(&entry), state.data(), sizeof entry);
    ledger.seen_.insert(entry);
  }
  return ledger;
}

// --- Load ----------------------------------------------------------------------------------------

void Load::record(const dvk::Address& from, const Sent& sent) {
  const std::scoped_lock lock(mutex_);
  sent_[from] = sent;
}

void Load::start_caller(int node, const dvk::Address& to) {
  threads_.start("caller on node " + std::to_string(node), [=, this] {
    Endpoint endpoint = cluster_.open(node);
    Sent sent{to, {}};
    while (!threads_.is_stopping()) {
      const dvk::Bytes request = numbered(++sent.counts.calls);
      const auto reply = must(endpoint.call(to, request, patience), "call");
      if (reply != request) complain("the reply is not this call's");
      expect_nothing(endpoint);
      std::this_thread::sleep_for(500us);
    }
    record(endpoint.address(), sent);
  });
}

void Load::start_sender(int node, const dvk::Address& to) {
  threads_.start("sender on node " + std::to_string(node), [=, this] {
    Endpoint endpoint = cluster_.open(node);
    Sent sent{to, {}};
    while (!threads_.is_stopping()) {
      must(endpoint.send(to, numbered(++sent.counts.messages), patience), "send");
      if (sent.counts.messages % 8 == 0) std::this_thread::sleep_for(1ms);
      expect_nothing(endpoint);
    }
    must(endpoint.flush(to, patience), "flush");
    expect_nothing(endpoint);
    record(endpoint.address(), sent);
  });
}

// Every bit comes back exactly once before it is set again.
void Load::start_notifier(int node, const dvk::Address& to) {
  threads_.start("notifier on node " + std::to_string(node), [=, this] {
    Endpoint endpoint = cluster_.open(node);
    Sent sent{to, {}};
    std::uint64_t outstanding = 0;
    for (int turn = 0; !threads_.is_stopping() || outstanding != 0; ++turn) {
      const std::uint64_t bit = std::uint64_t{1} << (turn * 7 % 64);
      if (!threads_.is_stopping() && (outstanding & bit) == 0) {
        must(endpoint.notify(to, bit), "notify");
        outstanding |= bit;
        ++sent.counts.notifies;
      }
      const bool must_wait = threads_.is_stopping() || std::popcount(outstanding) > 32;
      const auto incoming = endpoint.receive(must_wait ? dvk::Deadline(patience) : 500us);
      if (!incoming && incoming.error() == dvk::Errc::deadline && !must_wait) continue;
      const Incoming back = must(incoming, "wait for a notify to come back");
      if (back.kind != Incoming::Kind::notify || (back.bits & ~outstanding) != 0) {
        complain("a notify came back that was not under way");
      }
      outstanding &= ~back.bits;
    }
    std::this_thread::sleep_for(20ms);
    expect_nothing(endpoint);
    record(endpoint.address(), sent);
  });
}

void Load::start_copier(int node, const dvk::Address& to, dvk::GrantId grant, std::uint64_t slot) {
  threads_.start("copier on node " + std::to_string(node), [=, this] {
    Endpoint endpoint = cluster_.open(node);
    const dvk::Remote there{to, grant, slot * slot_bytes};
    for (std::uint64_t number = 1; !threads_.is_stopping(); ++number) {
      const std::size_t bytes = number % 5 == 0 ? slot_bytes : number * 4001 % slot_bytes;
      const dvk::Bytes written = make_pattern(bytes, number * 64 + slot);
      dvk::Bytes read(bytes);
      must(endpoint.copy_to(written, there, patience), "copy_to");
      must(endpoint.copy_from(there, read, patience), "copy_from");
      if (read != written) complain("a copy came back otherwise than it went");
      ++copies_;
      expect_nothing(endpoint);
      std::this_thread::sleep_for(1ms);
    }
  });
}

void Load::expect_all_in(const Ledger& ledger, const dvk::Address& receiver) const {
  for (const auto& [from, sent] : sent_) {
    if (sent.to != receiver) continue;
    const auto found = ledger.seen().find(from);
    const Ledger::Seen seen = found == ledger.seen().end() ? Ledger::Seen{} : found->second;
    EXPECT_EQ(seen.messages, sent.counts.messages) << to_string(from);
    EXPECT_EQ(seen.calls, sent.counts.calls) << to_string(from);
    EXPECT_EQ(seen.notifies, sent.counts.notifies) << to_string(from);
  }
}

std::string Load::summary() const {
  Ledger::Seen sum;
  for (const auto& [from, sent] : sent_) {
    sum.messages += sent.counts.messages;
    sum.calls += sent.counts.calls;
    sum.notifies += sent.counts.notifies;
  }
  return std::to_string(sum.messages) + " messages, " + std::to_string(sum.calls) + " calls, " +
         std::to_string(sum.notifies) + " notifies, " + std::to_string(copies_) +
         " pairs of copies";
}

}  // namespace integration
