// A link that is cut and healed again and again, while everything the dvk can do goes on across it
// in both directions: nothing may be lost, doubled or out of order, and nobody may notice but by
// waiting.
//
// Long form: link_cut_test --count 1000 [--seed S], or --minutes M.
#include <gtest/gtest.h>

#include <random>

#include "integration/cluster.hpp"
#include "integration/ledger.hpp"
#include "integration/load_thread.hpp"
#include "integration/run_options.hpp"

namespace integration {
namespace {

using dvk::Endpoint;

constexpr std::uint64_t slots = 2;

// The endpoint on one node that the load of the other one is for.
struct Receiver {
  explicit Receiver(Cluster& cluster, int node)
      : endpoint(cluster.open(node)), memory(slots * Load::slot_bytes) {
    grant = must(endpoint.grant(memory, dvk::Access::read_write), "grant");
  }
  void start(LoadThreads& threads) {
    threads.start("receiver", [this, &threads] {
      // What the senders have flushed lies in the mailbox: that is still taken.
      for (bool is_empty = false; !threads.is_stopping() || !is_empty;) {
        const auto incoming = endpoint.receive(100ms);
        if (incoming) ledger.take(endpoint, *incoming);
        is_empty = !incoming;
        if (!incoming && incoming.error() != dvk::Errc::deadline) must(incoming, "receive");
      }
    });
  }
  Endpoint endpoint;
  dvk::Bytes memory;
  dvk::GrantId grant{};
  Ledger ledger;
};

class LinkCut : public testing::Test {
 public:
  void SetUp() override {
    if (const auto reason = reason_to_skip()) GTEST_SKIP() << *reason;
    cluster.emplace(ClusterOptions{.heartbeat = 50ms, .suspect = 300ms});
  }
  void pause(int most_milliseconds) {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::uniform_int_distribution(0, most_milliseconds)(random)));
  }
  // One way in which a link can fail, and its healing.
  using Failure = std::function<void()>;
  void run_under_load(const std::vector<Failure>& failures, std::uint64_t rounds,
                      std::uint64_t asked_for = run_options().count) {
    Receiver first(*cluster, 1), second(*cluster, 2);
    LoadThreads receivers;
    LoadThreads senders;
    Load load(*cluster, senders);
    first.start(receivers);
    second.start(receivers);
    for (const auto& [node, to] : {std::pair(2, &first), std::pair(1, &second)}) {
      const dvk::Address address = to->endpoint.address();
      load.start_caller(node, address);
      load.start_caller(node, address);
      load.start_sender(node, address);
      load.start_sender(node, address);
      load.start_notifier(node, address);
      for (std::uint64_t slot = 0; slot < slots; ++slot) {
        load.start_copier(node, address, to->grant, slot);
      }
    }
    std::uint64_t round = 0;
    RunOptions options = run_options();
    options.count = asked_for;
    for (; options.wants_more(round, rounds) && !has_failed(senders, receivers); ++round) {
      failures[random() % failures.size()]();
      cluster->await_links();
      pause(60);
    }
    senders.stop();
    senders.join();
    receivers.stop();
    receivers.join();
    ASSERT_FALSE(HasFailure()) << "round " << round << ", seed " << run_options().seed;
    load.expect_all_in(first.ledger, first.endpoint.address());
    load.expect_all_in(second.ledger, second.endpoint.address());
    std::printf("%llu cuts survived by %s; reconnects %llu, frames replayed %llu\n",
                static_cast<unsigned long long>(round), load.summary().c_str(),
                static_cast<unsigned long long>(cluster->link_number(1, 2, "reconnects")),
                static_cast<unsigned long long>(cluster->link_number(1, 2, "replays")));
    EXPECT_GT(load.copies(), 0U);
    if (must_reconnect) {
      EXPECT_GT(cluster->link_number(1, 2, "reconnects"), 0U);
    }
  }
  static bool has_failed(const LoadThreads& senders, const LoadThreads& receivers) {
    return senders.has_failed() || receivers.has_failed();
  }

  void cut_connection() {
    const int node = static_cast<int>(1 + random() % 2);
    cluster->control(node, "cut " + std::to_string(3 - node));
  }
  void unplug() {
    cluster->network().set_cable(1, 2, false);
    pause(longest_pause);
    cluster->network().set_cable(1, 2, true);
  }
  void silence() {
    const int from = static_cast<int>(1 + random() % 2);
    cluster->network().set_silence(from, 3 - from, true);
    pause(longest_pause);
    cluster->network().set_silence(from, 3 - from, false);
  }

  // Shorter and longer than it takes to suspect a peer, and to give up a connection that says
  // nothing.
  static constexpr int longest_pause = 2500;

  bool must_reconnect = true;
  std::optional<Cluster> cluster;
  std::mt19937_64 random{run_options().seed};
};

TEST_F(LinkCut, ConnectionsBrokenUnderLoad) {
  run_under_load({[&] { cut_connection(); }}, 40);
}

TEST_F(LinkCut, CablesUnpluggedUnderLoad) {
  must_reconnect = false;  // TCP itself may outlast them all
  run_under_load({[&] { unplug(); }, [&] { silence(); }}, 10, run_options().count / 10);
}

TEST_F(LinkCut, EveryKindOfCutUnderLoad) {
  run_under_load({[&] { cut_connection(); }, [&] { cut_connection(); }, [&] { cut_connection(); },
                  [&] { unplug(); }, [&] { silence(); }},
                 15);
}

TEST_F(LinkCut, LossyNetworkUnderLoad) {
  if (!cluster->network().set_loss(1, 2, 5) || !cluster->network().set_loss(2, 1, 5)) {
    GTEST_SKIP() << "this kernel has no netem";
  }
  run_under_load({[&] { cut_connection(); }}, 5, run_options().count / 10);
}

}  // namespace
}  // namespace integration
