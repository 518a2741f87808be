// An endpoint that moves from node to node, while callers, senders and notifiers on all nodes go on
// using it: nothing may be lost, doubled or out of order.
//
// Long form: migration_test --count 1000 [--seed S], or --minutes M.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <random>

#include "integration/cluster.hpp"
#include "integration/ledger.hpp"
#include "integration/load_thread.hpp"
#include "integration/run_options.hpp"

namespace integration {
namespace {

using dvk::Endpoint;

constexpr char name[] = "traveller";

// One thread per node. The one that has the endpoint serves it for a moment, names the next, and
// moves it there.
class Journey {
 public:
  Journey(Cluster& cluster, std::uint64_t rounds)
      : cluster_(cluster), rounds_(rounds), random_(run_options().seed) {}

  void start(LoadThreads& hosts) {
    for (int node = 1; node <= cluster_.size(); ++node) {
      hosts.start("host on node " + std::to_string(node),
                  [this, &hosts, node] { host(hosts, node); });
    }
  }
  bool is_over() const { return is_over_; }
  std::uint64_t moves() const { return moves_; }
  const Ledger& ledger() const { return ledger_; }

 private:
  void host(LoadThreads& hosts, int node) {
    std::optional<Endpoint> first;
    if (node == 1) first.emplace(cluster_.open(1, name));
    while (!hosts.is_stopping()) {
      if (!first && !is_expected_on(node)) continue;
      std::optional<Endpoint> endpoint;
      Ledger ledger;
      if (first) {
        endpoint = std::exchange(first, std::nullopt);
      } else {
        auto adopted = must(
            Endpoint::adopt({.socket = cluster_.socket(node), .name = name, .deadline = patience}),
            "adopt");
        endpoint.emplace(std::move(adopted.endpoint));
        ledger = Ledger::load(adopted.state);
      }
      serve(hosts, *endpoint, ledger);
      if (hosts.is_stopping()) {
        ledger_ = ledger;
        return;
      }
      const int next = choose_next(node);
      must(
          endpoint->move_to(dvk::NodeId{static_cast<std::uint16_t>(next)}, ledger.save(), patience),
          "move_to");
      ++moves_;
    }
  }

  void serve(LoadThreads& hosts, Endpoint& endpoint, Ledger& ledger) {
    is_over_ = !run_options().wants_more(moves_, rounds_);
    const auto until = std::chrono::steady_clock::now() + random_pause(20);
    // At the end, what the senders have flushed lies in the mailbox: that is still taken.
    for (bool is_empty = false; !hosts.is_stopping() || !is_empty;) {
      if (!is_over_ && std::chrono::steady_clock::now() >= until) break;
      const auto incoming =
          endpoint.receive(is_over_ ? dvk::Deadline(100ms) : dvk::Deadline(until));
      if (incoming) ledger.take(endpoint, *incoming);
      is_empty = !incoming;
      if (!incoming && incoming.error() != dvk::Errc::deadline) must(incoming, "receive");
    }
  }

  std::chrono::milliseconds random_pause(int most) {
    const std::scoped_lock lock(mutex_);
    return std::chrono::milliseconds(std::uniform_int_distribution(1, most)(random_));
  }
  int choose_next(int node) {
    const std::scoped_lock lock(mutex_);
    do {
      expected_on_ = std::uniform_int_distribution(1, cluster_.size())(random_);
    } while (expected_on_ == node);
    changed_.notify_all();
    return expected_on_;
  }
  bool is_expected_on(int node) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 50ms, [&] { return expected_on_ == node; });
  }

  Cluster& cluster_;
  const std::uint64_t rounds_;
  std::atomic<std::uint64_t> moves_ = 0;
  std::atomic<bool> is_over_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  int expected_on_ = 0;
  std::mt19937_64 random_;
  Ledger ledger_;
};

TEST(Migration, UnderLoadOfCallersOnAllNodes) {
  if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
  Cluster cluster({.nodes = 3});
  Endpoint observer = cluster.open(1);
  Journey journey(cluster, 200);
  LoadThreads hosts;
  journey.start(hosts);
  dvk::Result<dvk::Address> address = observer.lookup(name);
  for (; !address && !hosts.has_failed(); address = observer.lookup(name)) {
    std::this_thread::sleep_for(5ms);
  }
  ASSERT_TRUE(address);
  LoadThreads senders;
  Load load(cluster, senders);
  for (int i = 0; i < 8; ++i) load.start_caller(1 + i % 3, *address);
  for (int i = 0; i < 3; ++i) load.start_sender(1 + i, *address);
  for (int i = 0; i < 3; ++i) load.start_notifier(1 + i, *address);
  while (!journey.is_over() && !senders.has_failed() && !hosts.has_failed()) {
    std::this_thread::sleep_for(10ms);
  }
  senders.stop();
  senders.join();
  hosts.stop();
  hosts.join();
  ASSERT_FALSE(testing::Test::HasFailure())
      << "move " << journey.moves() << ", seed " << run_options().seed;
  load.expect_all_in(journey.ledger(), *address);
  std::printf("%llu moves survived by %s\n", static_cast<unsigned long long>(journey.moves()),
              load.summary().c_str());
  EXPECT_GE(journey.moves(), 1U);
}

}  // namespace
}  // namespace integration
