// The membership in a simulated world. Each seed is one history.
//
// DVS_MEMBERSHIP_SEEDS=first:count overrides which seeds run.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "cluster/membership/simulation.hpp"

namespace dvs::cluster::simulation {
namespace {

using namespace std::chrono_literals;

template <class Body>
void for_seeds(std::uint64_t count, const Body& body) {
  std::uint64_t first = 1;
  if (const char* seeds = std::getenv("DVS_MEMBERSHIP_SEEDS")) {
    char* rest = nullptr;
    first = std::strtoull(seeds, &rest, 10);
    if (*rest == ':') count = std::strtoull(rest + 1, nullptr, 10);
  }
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    body(seed);
    if (testing::Test::HasFatalFailure()) return;
  }
}

Options options_of(std::uint64_t seed) {
  Options options;
  options.nodes = 3 + static_cast<unsigned>(seed % 14);
  options.voters = options.nodes >= 5 && seed % 2 == 0 ? 5 : 3;
  return options;
}

// Now and then two nodes with one voter.
Options any_options_of(std::uint64_t seed) {
  Options options = options_of(seed);
  if (seed % 10 == 0) {
    options.nodes = 2;
    options.voters = 1;
  }
  return options;
}

void settle(World& world) {
  ASSERT_TRUE(world.run_until(6s, [&] { return world.is_whole(); }));
}

unsigned one_that_follows(World& world) {
  unsigned node = 0;
  do {
    node = 1 + static_cast<unsigned>(world.below(world.size()));
  } while (node == world.leader());
  return node;
}

TEST(MembershipSimulation, APauseOf300MillisecondsChangesNoView) {
  for_seeds(300, [](std::uint64_t seed) {
    World world(seed, any_options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const std::uint64_t number = world.view().number;
    for (int i = 0; i < 6; ++i) {
      world.pause(1 + static_cast<unsigned>(world.below(world.size())), 300ms);
      world.run_for(300ms + Duration(world.below(900'000'000)));
    }
    world.run_for(2s);
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
    ASSERT_EQ(world.view().number, number);
    ASSERT_TRUE(world.is_whole());
  });
}

TEST(MembershipSimulation, ASilentNodeIsOutWithinASecondAndComesBack) {
  for_seeds(300, [](std::uint64_t seed) {
    World world(seed, any_options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned node = one_that_follows(world);
    const bool is_killed = seed % 3 == 0;
    is_killed ? world.kill(node) : world.isolate(node);
    ASSERT_TRUE(world.run_until(1s, [&] { return !world.is_in_view(node); }));
    world.run_for(Duration(world.below(2'000'000'000)));
    ASSERT_FALSE(world.is_acting(node));
    if (is_killed) world.start(node, seed % 2 == 0);
    world.heal();
    ASSERT_TRUE(world.run_until(3s, [&] { return world.is_whole(); }));
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
  });
}

TEST(MembershipSimulation, ALeaderThatDiesIsReplacedAndLeftOut) {
  for_seeds(100, [](std::uint64_t seed) {
    World world(seed, options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned leader = world.leader();
    seed % 2 == 0 ? world.kill(leader) : world.isolate(leader);
    ASSERT_TRUE(world.run_until(2s, [&] { return !world.is_in_view(leader); }));
    ASSERT_FALSE(world.is_acting(leader));
    if (seed % 2 == 0) world.start(leader, true);
    world.heal();
    ASSERT_TRUE(world.run_until(4s, [&] { return world.is_whole(); }));
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
  });
}

TEST(MembershipSimulation, ANodeThatAVoterReachesStays) {
  for_seeds(100, [](std::uint64_t seed) {
    World world(seed, options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const std::uint64_t number = world.view().number;
    unsigned node = one_that_follows(world);
    while (node <= (seed % 2 == 0 ? 5u : 3u) && world.size() > 5) node = one_that_follows(world);
    world.cut(world.leader(), node);
    if (seed % 3 != 0) world.cut(node, world.leader());
    for (int i = 0; i < 30; ++i) {
      world.run_for(100ms);
      ASSERT_TRUE(world.is_acting(node)) << i;
    }
    ASSERT_EQ(world.view().number, number);
  });
}

TEST(MembershipSimulation, ANodeThatNothingReachesIsOutAndStaysOut) {
  for_seeds(100, [](std::uint64_t seed) {
    World world(seed, options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned node = one_that_follows(world);
    for (unsigned other = 1; other <= world.size(); ++other) {
      if (other != node) world.cut(other, node);
    }
    ASSERT_TRUE(world.run_until(2s, [&] { return !world.is_in_view(node); }));
    const std::uint64_t number = world.view().number;
    world.run_for(4s);
    ASSERT_EQ(world.view().number, number);
    world.heal();
    ASSERT_TRUE(world.run_until(2s, [&] { return world.is_whole(); }));
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
  });
}

TEST(MembershipSimulation, ANodeOutForLongIsLostAndReturnsUnderANewBoot) {
  for_seeds(50, [](std::uint64_t seed) {
    World world(seed, options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned node = one_that_follows(world);
    world.isolate(node);
    const auto is_lost = [&] {
      return world.state().roster().find(static_cast<NodeId>(node))->is_lost;
    };
    world.run_for(10s);
    ASSERT_FALSE(is_lost());
    ASSERT_TRUE(world.run_until(1500ms, is_lost));
    world.heal();
    ASSERT_TRUE(world.run_until(3s, [&] { return world.is_whole(); }));
    ASSERT_FALSE(is_lost());
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
  });
}

TEST(MembershipSimulation, ANewBootIsProofThatTheOldOneIsLost) {
  for_seeds(100, [](std::uint64_t seed) {
    World world(seed, options_of(seed));
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned node = one_that_follows(world);
    const auto id = static_cast<NodeId>(node);
    const BootId before = world.state().roster().find(id)->boot;
    world.kill(node);
    world.run_for(50ms);
    world.start(node, true);
    ASSERT_TRUE(
        world.run_until(700ms, [&] { return world.state().roster().find(id)->boot != before; }));
    ASSERT_TRUE(world.run_until(1s, [&] { return world.is_whole(); }));
    const auto lost = world.state().events_after(0, "nodes/" + std::to_string(node), 1000);
    ASSERT_TRUE(std::ranges::any_of(lost->events, [&](const Event& event) {
      const auto* loss = std::get_if<NodeLost>(&event.change);
      return loss != nullptr && loss->boot == before;
    }));
  });
}

TEST(MembershipSimulation, ALoneNodeGetsPastItsOwnReboot) {
  Options options;
  options.nodes = options.voters = 1;
  World world(1, options);
  ASSERT_NO_FATAL_FAILURE(settle(world));
  world.kill(1);
  world.run_for(100ms);
  world.start(1, true);
  EXPECT_TRUE(world.run_until(3s, [&] {
    return world.is_whole() && world.state().roster().find(NodeId{1})->boot == BootId{1001};
  }));
}

// ---- Everything at once

void break_something(World& world) {
  const unsigned node = 1 + static_cast<unsigned>(world.below(world.size()));
  const unsigned other = 1 + static_cast<unsigned>(world.below(world.size()));
  switch (world.below(8)) {
    case 0: world.pause(node, Duration(world.below(3'000'000'000))); break;
    case 1: world.isolate(node); break;
    case 2:
      world.cut(node, other);
      if (world.below(2) == 0) world.cut(other, node);
      break;
    case 3:
      if (world.is_alive(node)) world.kill(node);
      break;
    case 4:
      if (!world.is_alive(node)) world.start(node, world.below(2) == 0);
      break;
    case 5: world.heal_one(node); break;
    case 6: world.heal(); break;
    default:
      for (unsigned i = 1; i <= node; ++i) {
        for (unsigned j = node + 1; j <= world.size(); ++j) {
          world.cut(i, j);
          world.cut(j, i);
        }
      }
      break;
  }
}

TEST(MembershipSimulation, AtMostOneActsWhateverHappens) {
  std::uint64_t views = 0, runs = 0;
  for_seeds(300, [&](std::uint64_t seed) {
    Options options = any_options_of(seed);
    options.loss_permille = seed % 4 == 0 ? 50 : 0;
    options.delay_max = seed % 3 == 0 ? 40ms : 5ms;
    World world(seed, options);
    for (int i = 0; i < 40 && world.violations().empty(); ++i) {
      world.run_for(Duration(world.below(600'000'000)));
      break_something(world);
    }
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
    world.heal();
    for (unsigned node = 1; node <= world.size(); ++node) {
      if (!world.is_alive(node)) world.start(node, node % 2 == 0);
    }
    ASSERT_TRUE(world.run_until(8s, [&] { return world.is_whole(); }));
    ASSERT_TRUE(world.violations().empty()) << world.violations().front();
    views += world.view().number;
    ++runs;
  });
  EXPECT_GT(views, runs * 4);  // there was something to see
}

// ---- What it costs

// Messages per second at rest.
struct Traffic {
  double sent, received;
};

Traffic traffic_of(World& world, unsigned node) {
  const std::uint64_t sent = world.messages_sent(node);
  const std::uint64_t received = world.messages_received(node);
  world.run_for(2s);
  return {static_cast<double>(world.messages_sent(node) - sent) / 2,
          static_cast<double>(world.messages_received(node) - received) / 2};
}

TEST(MembershipSimulation, WhatNodesButTheLeaderSendDoesNotGrow) {
  for (const unsigned nodes : {6U, 16U, 100U, 1000U}) {
    Options options;
    options.nodes = nodes;
    options.voters = 5;
    World world(1, options);
    ASSERT_NO_FATAL_FAILURE(settle(world));
    const unsigned voter = world.leader() == 1 ? 2 : 1;
    const Traffic ordinary = traffic_of(world, nodes);
    const Traffic voting = traffic_of(world, voter);
    std::printf(
        "%u nodes: an ordinary one sends %.1f and receives %.1f a second, a voter %.1f, %.1f\n",
        nodes, ordinary.sent, ordinary.received, voting.sent, voting.received);
    EXPECT_LE(ordinary.sent, 11.0);
    EXPECT_LE(ordinary.received, 11.0);
    EXPECT_LE(voting.sent, 32.0);
    EXPECT_LE(voting.received, 32.0);
  }
}

}  // namespace
}  // namespace dvs::cluster::simulation
