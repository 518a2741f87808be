// Everything that goes wrong, at random times, until the world heals.
#pragma once

#include <memory>
#include <vector>

#include "sim/cluster_oracle.hpp"
#include "sim/world.hpp"

namespace sim {

class Faults {
 public:
  Faults(Context& context, World& world, ClusterOracle& oracle);

  void begin();
  // Nothing goes wrong from now on; cut wires are mended, some dead nodes come back.
  void heal();

 private:
  void repeat(Duration mean, std::function<void()> fault);
  Wire& pick_wire();
  void break_wire();
  void partition();
  void kill_node();
  void pause_node();
  void kill_process();
  void pause_process();
  void move();
  void spoil_move(const Address& address, Process& adopter);
  Duration hard_duration();
  Process& spawn_adopter(Application& application, NodeId target);

  Context& context_;
  World& world_;
  ClusterOracle& oracle_;
  std::vector<std::unique_ptr<Alarm>> alarms_;
};

}  // namespace sim
