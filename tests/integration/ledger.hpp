// What a receiver saw of each sender, held against what was sent: nothing lost, nothing doubled, in
// order.
//
// Load clients number what they send; a Ledger takes it at the other end and ends the test at the
// first number that is not the one due. Plain data, so that it can travel with an endpoint that
// moves.
#pragma once

#include <dvk/endpoint.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "integration/cluster.hpp"
#include "integration/load_thread.hpp"

namespace integration {

class Ledger {
 public:
  struct Seen {
    std::uint64_t messages = 0;
    std::uint64_t calls = 0;
    std::uint64_t notifies = 0;
  };

  // Takes one thing that came in: checks it, answers a request by its own payload, sends notify
  // bits back. Throws when it is not what is due.
  void take(dvk::Endpoint& endpoint, const dvk::Incoming& incoming);
  const std::map<dvk::Address, Seen>& seen() const { return seen_; }

  dvk::Bytes save() const;
  static Ledger load(dvk::BytesView state);

 private:
  std::map<dvk::Address, Seen> seen_;
};

// The senders' side. Each function is the body of one thread: it opens an endpoint on that node and
// works until the threads are to stop; then waits until all it sent has arrived. Safe to run
// several at once.
class Load {
 public:
  Load(const Cluster& cluster, LoadThreads& threads) : cluster_(cluster), threads_(threads) {}

  void start_caller(int node, const dvk::Address& to);
  void start_sender(int node, const dvk::Address& to);
  void start_notifier(int node, const dvk::Address& to);
  // Writes into and reads back its own part of the granted memory, which begins at `slot` times
  // slot_bytes.
  void start_copier(int node, const dvk::Address& to, dvk::GrantId grant, std::uint64_t slot);
  static constexpr std::uint64_t slot_bytes = 256 * 1024;

  // Once all threads have ended: whether the receiver saw exactly what was sent to it.
  void expect_all_in(const Ledger& ledger, const dvk::Address& receiver) const;
  // Something was done so far by every thread since the last time this was asked.
  std::uint64_t copies() const { return copies_; }
  std::string summary() const;

 private:
  struct Sent {
    dvk::Address to;
    Ledger::Seen counts;
  };
  void record(const dvk::Address& from, const Sent& sent);

  const Cluster& cluster_;
  LoadThreads& threads_;
  mutable std::mutex mutex_;
  std::map<dvk::Address, Sent> sent_;
  std::atomic<std::uint64_t> copies_ = 0;
};

}  // namespace integration
