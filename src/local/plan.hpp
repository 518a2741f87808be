// What a local cluster consists of: names, addresses, files and cores, all of them decided before
// anything is made. Pure.
//
// Nothing of a cluster is on the host's network: its nodes and the bridge that joins them (the
// switch) are in namespaces of their own. So no address, interface or firewall rule of the host can
// get in the way, and when the namespaces go, so does everything in them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <dvs/result.hpp>

namespace dvs::local {

constexpr int nodes_max = 250;
constexpr std::uint16_t link_port = 7400;

struct Plan {
  std::string name = "dvs";         // the cluster's
  std::filesystem::path directory;  // for everything of the nodes; made and removed with them
  int nodes = 1;
  int cores_per_node = 0;  // 0: all cores for all

  // A lone node is a daemon and nothing else: no namespaces, no links.
  bool has_network() const { return nodes > 1; }
};

// Errors: invalid_argument (a name that is not made of 1 to 16 small letters, digits and "-", a
// number of nodes that is not from 1 to nodes_max, a directory too long for the sockets in it).
Result<void> check(const Plan& plan);

std::string node_name(int node);                         // "n2"
std::string namespace_name(const Plan& plan, int node);  // "dvs-n2"
std::string switch_name(const Plan& plan);               // "dvs-switch"
std::string address_of(int node);                        // "10.77.0.2"
std::filesystem::path authority_directory(const Plan& plan);

// The files of a node.
struct NodeFiles {
  std::filesystem::path directory, configuration, log, state, run, certificate;
};
NodeFiles files_of(const Plan& plan, int node);

// The configuration of its dvsd.
std::string configuration_text(const Plan& plan, int node);

// Commands for `ip -batch`, in the namespace of the switch and of a node.
std::string switch_commands(const Plan& plan);
std::string node_commands(int node);

// Which of the machine's cores a node has: as many as it shall, one after the other, beginning
// again where there are no more. Empty: all.
std::vector<int> cores_of(const Plan& plan, int node, const std::vector<int>& machine_cores);

// "n2" or "2". Errors: invalid_argument.
Result<int> parse_node(std::string_view text);

}  // namespace dvs::local
