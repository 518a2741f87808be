#include "sim/scenario.hpp"

#include <array>

namespace sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

void draw_size(Scenario& scenario, Random& random) {
  constexpr std::array<unsigned, 8> node_counts{2, 2, 3, 3, 3, 4, 5, 6};
  scenario.nodes = node_counts[random.below(node_counts.size())];
  scenario.applications = static_cast<unsigned>(random.between(4, 10));
  scenario.active = random.between(seconds(1), seconds(5));
  scenario.drift_ppm_max = static_cast<std::int64_t>(random.below(4) * 10'000);
  scenario.has_policy = random.permille(150);
}

void draw_limits(Scenario& scenario, Random& random) {
  if (random.one_in(2)) scenario.limits.window_cost = random.between(80, 192) * 1024;
  if (random.one_in(2)) scenario.limits.send_queue_cost = random.between(80, 384) * 1024;
  if (random.one_in(3)) scenario.retained_bytes_max = random.between(300, 1024) * 1024;
  if (random.one_in(2)) scenario.ring_bytes = std::size_t{128} * 1024;
  scenario.link.heartbeat_interval = milliseconds(random.between(100, 300));
  scenario.link.suspect_after = 4 * scenario.link.heartbeat_interval;
  scenario.link.reconnect_after = seconds(2);
  scenario.link.give_up_after = random.between(seconds(3), seconds(8));
}

void draw_lanes(Scenario& scenario, Random& random) {
  const auto base = random.between(microseconds(20), milliseconds(2));
  scenario.message_lane.delay = {base, base * static_cast<int>(random.between(1, 8))};
  scenario.message_lane.in_flight_max = static_cast<unsigned>(random.between(4, 64));
  scenario.bulk_lane = scenario.message_lane;
  scenario.local_delay = {microseconds(1), random.between(microseconds(5), microseconds(500))};
  scenario.detection = {milliseconds(50), random.between(milliseconds(100), seconds(2))};
  scenario.fact_delay = {microseconds(10), random.between(milliseconds(1), seconds(1))};
}

void draw_traffic(Scenario& scenario, Random& random) {
  Traffic& traffic = scenario.traffic;
  traffic.operation_interval = random.between(milliseconds(10), milliseconds(60));
  traffic.message = static_cast<unsigned>(random.between(0, 20)) + 1;
  traffic.call = static_cast<unsigned>(random.between(0, 20)) + 1;
  traffic.notify = static_cast<unsigned>(random.between(0, 10)) + 1;
  traffic.large_permille = static_cast<unsigned>(random.below(2) * random.between(0, 200));
  traffic.slow_permille = static_cast<unsigned>(random.below(2) * random.between(0, 500));
  traffic.forged_permille = static_cast<unsigned>(random.one_in(4) ? 50 : 0);
}

void make_lossy(LaneCharacter& lane, Random& random) {
  lane.is_ordered = false;
  lane.lost_permille = static_cast<unsigned>(random.between(0, 100));
  lane.doubled_permille = static_cast<unsigned>(random.between(0, 100));
  lane.delayed_permille = static_cast<unsigned>(random.between(0, 100));
}

void add_lossy(Scenario& scenario, Random& random) {
  make_lossy(scenario.message_lane, random);
  make_lossy(scenario.bulk_lane, random);
}
void add_drops(Scenario& scenario, Random& random) {
  scenario.faults.ring_drop_permille = static_cast<unsigned>(random.between(5, 100));
  scenario.faults.lane_drop_permille = static_cast<unsigned>(random.between(5, 100));
}
void add_breaks(Scenario& scenario, Random& random) {
  scenario.faults.wire_break = random.between(milliseconds(50), milliseconds(1000));
  if (random.one_in(2)) scenario.faults.partition = random.between(milliseconds(500), seconds(4));
}
void add_deaths(Scenario& scenario, Random& random) {
  scenario.faults.process_kill = random.between(milliseconds(100), seconds(1));
  if (random.one_in(2)) scenario.faults.node_kill = random.between(seconds(1), seconds(5));
}
void add_pauses(Scenario& scenario, Random& random) {
  scenario.faults.node_pause = random.between(milliseconds(300), seconds(2));
  scenario.faults.process_pause = random.between(milliseconds(200), seconds(2));
}
void add_moves(Scenario& scenario, Random& random) {
  scenario.faults.move = random.between(milliseconds(20), milliseconds(300));
  scenario.faults.moves_meet_faults = random.one_in(2);
}
void add_names(Scenario& scenario, Random& random) {
  scenario.named_permille = static_cast<unsigned>(random.between(500, 1000));
  scenario.backup_permille = static_cast<unsigned>(random.between(100, 400));
  scenario.traffic.lookup = 15;
  scenario.faults.process_kill = random.between(milliseconds(50), milliseconds(500));
}
void add_copies(Scenario& scenario, Random& random) {
  scenario.traffic.copy = static_cast<unsigned>(random.between(5, 30));
  scenario.memory_bytes = (random.one_in(4) ? 512 : 64) * std::size_t{1024};
}
void add_groups(Scenario& scenario, Random& random) {
  scenario.group_count = static_cast<unsigned>(random.between(1, 2));
}

using Ingredient = void (*)(Scenario&, Random&);
struct Named {
  const char* name;
  Ingredient add;
};
constexpr std::array<Named, 9> ingredients{{{"lossy", add_lossy},
                                            {"drops", add_drops},
                                            {"breaks", add_breaks},
                                            {"deaths", add_deaths},
                                            {"pauses", add_pauses},
                                            {"moves", add_moves},
                                            {"names", add_names},
                                            {"copies", add_copies},
                                            {"groups", add_groups}}};

void add(Scenario& scenario, const Named& ingredient, Random& random) {
  ingredient.add(scenario, random);
  scenario.name += scenario.name.empty() ? "" : "+";
  scenario.name += ingredient.name;
}

}  // namespace

// One world in ten is calm, so that the strictest laws are checked too; four have one kind of
// trouble, which makes failures easy to read; the rest have several at once.
Scenario draw_scenario(Random& random) {
  Scenario scenario;
  draw_size(scenario, random);
  draw_limits(scenario, random);
  draw_lanes(scenario, random);
  draw_traffic(scenario, random);
  const std::uint64_t kind = random.below(10);
  if (kind == 0) {
    scenario.name = "calm";
  } else if (kind <= 4) {
    add(scenario, ingredients[random.below(ingredients.size())], random);
  } else {
    const auto chosen = random.next();
    for (std::size_t i = 0; i < ingredients.size(); ++i) {
      if ((chosen >> i & 1) != 0) add(scenario, ingredients[i], random);
    }
    if (scenario.name.empty()) scenario.name = "calm";
  }
  return scenario;
}

}  // namespace sim
