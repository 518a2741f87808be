// See network.hpp.
#include "local/network.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "local/process.hpp"

namespace dvs::local {
namespace {

constexpr const char* namespace_folder = "/run/netns";
// States of a port of a bridge, as the kernel numbers them.
constexpr const char* port_disabled = "0";
constexpr const char* port_forwarding = "3";

std::vector<std::string> namespaces_of(const Plan& plan) {
  std::vector<std::string> names = {switch_name(plan)};
  for (int node = 1; node <= plan.nodes; ++node) names.push_back(namespace_name(plan, node));
  return names;
}

Result<void> ip_batch(const std::string& network, const std::string& commands) {
  return run({"ip", "-n", network, "-batch", "-"}, commands);
}

}  // namespace

std::string namespace_path(const std::string& name) {
  return std::string(namespace_folder) + "/" + name;
}

bool has_namespace_folder() {
  std::error_code ignored;
  return std::filesystem::exists(namespace_folder, ignored);
}

Result<void> check_network(const Plan& plan) {
  DVS_CHECK(run({"ip", "-V"}));
  for (const std::string& name : namespaces_of(plan)) {
    std::error_code ignored;
    if (std::filesystem::exists(namespace_path(name), ignored)) {
      return fail(Errc::name_in_use, "there is a network namespace \"" + name +
                                         "\" already; choose another name for the cluster with "
                                         "--cluster, or remove it: ip netns del " +
                                         name);
    }
  }
  return {};
}

Result<void> make_network(const Plan& plan) {
  for (const std::string& name : namespaces_of(plan)) {
    DVS_CHECK(run({"ip", "netns", "add", name}));
  }
  DVS_CHECK(ip_batch(switch_name(plan), switch_commands(plan)));
  for (int node = 1; node <= plan.nodes; ++node) {
    DVS_CHECK(ip_batch(namespace_name(plan, node), node_commands(node)));
  }
  return {};
}

Result<void> remove_network(const Plan& plan) {
  Result<void> result;
  for (const std::string& name : namespaces_of(plan)) {
    std::error_code ignored;
    if (!std::filesystem::exists(namespace_path(name), ignored)) continue;
    const auto removed = run({"ip", "netns", "del", name});
    if (!removed) result = removed;
  }
  return result;
}

// The folder is a mount of its own; in use or not empty, it stays.
void remove_namespace_folder() {
  std::error_code error;
  if (!std::filesystem::is_empty(namespace_folder, error) || error) return;
  ::umount2(namespace_folder, MNT_DETACH);
  ::rmdir(namespace_folder);
}

// By `bridge`, not `ip link set ... type bridge_slave`: that one lets the port forward again at
// once.
Result<void> set_connected(const Plan& plan, int node, bool is_connected) {
  return run({"bridge", "-n", switch_name(plan), "link", "set", "dev", node_name(node), "state",
              is_connected ? port_forwarding : port_disabled});
}

}  // namespace dvs::local
