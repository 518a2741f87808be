// The world: machines and the wires between them, daemons, processes, applications.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/application.hpp"
#include "sim/context.hpp"
#include "sim/daemon.hpp"
#include "sim/process.hpp"
#include "sim/wire.hpp"

namespace sim {

class World final : public Network, public Population, public ProcessOwner {
 public:
  explicit World(Context& context);

  // --- Machines ---
  const std::vector<std::unique_ptr<Machine>>& machines() const { return machines_; }
  Machine& machine(NodeId node) { return *machines_[dvs::raw(node) - 1U]; }
  std::vector<NodeId> running_nodes() const;
  void start_node(NodeId node);
  // All processes on it die with it.
  void kill_node(NodeId node);
  void pause_node(NodeId node, Duration how_long);
  std::vector<std::unique_ptr<Wire>>& wires() { return wires_; }

  // --- Processes ---
  Process& spawn(NodeId node, ProcessPlan plan);
  std::vector<Process*> running_processes() const;
  // Applications whose endpoint lives, be it frozen.
  std::vector<Application*> living_applications() const;
  Application* find_application(const Address& address);
  // A new endpoint somewhere, if there are fewer than the scenario wants.
  void populate();

  // Network
  Wire& wire(NodeId a, NodeId b, std::uint8_t lane) override;
  const std::vector<NodeId>& nodes() const override { return node_ids_; }
  // Population
  std::vector<Address> alive(dvs::ContainerId container) const override;
  Memory* memory_of(const Address& address) override;
  const std::vector<std::string>& names() const override { return names_; }
  // ProcessOwner
  Application& create_application(Process& process) override;
  Application& application_of(const Address& address) override;
  void on_move_ended(const Address& address) override;

 private:
  ProcessPlan draw_plan();
  void draw_policy();

  Context& context_;
  std::vector<NodeId> node_ids_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::vector<std::unique_ptr<Wire>> wires_;
  // Never destroyed during a run: events may still name them. All, in order of their beginning.
  std::vector<std::unique_ptr<Daemon>> daemons_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<std::unique_ptr<Application>> applications_;
};

}  // namespace sim
