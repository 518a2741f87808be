// See plan.hpp.
#include "local/plan.hpp"

#include <sys/un.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace dvs::local {
namespace {

constexpr std::size_t name_bytes_max = 16;
// Of the sockets in a node's run directory, with what a container's name may add.
constexpr std::size_t socket_name_bytes = 24;

bool is_good_name(const std::string& name) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !name.empty() && name.size() <= name_bytes_max && name.front() != '-' &&
         std::ranges::all_of(name, is_good);
}

}  // namespace

Result<void> check(const Plan& plan) {
  if (!is_good_name(plan.name)) {
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\" is no name for a cluster: take up to {} small letters, digits "
                            "and \"-\"",
                            plan.name, name_bytes_max));
  }
  if (plan.nodes < 1 || plan.nodes > nodes_max) {
    return fail(Errc::invalid_argument,
                fmt::format("a local cluster has 1 to {} nodes, not {}", nodes_max, plan.nodes));
  }
  const std::size_t longest = files_of(plan, plan.nodes).run.string().size() + socket_name_bytes;
  if (!plan.directory.is_absolute() || longest >= sizeof(sockaddr_un{}.sun_path)) {
    return fail(Errc::invalid_argument,
                fmt::format("the path {} is too long for the sockets in it; name a shorter one "
                            "with --dir",
                            plan.directory.string()));
  }
  return {};
}

std::string node_name(int node) {
  return fmt::format("n{}", node);
}
std::string namespace_name(const Plan& plan, int node) {
  return plan.name + "-" + node_name(node);
}
std::string switch_name(const Plan& plan) {
  return plan.name + "-switch";
}
std::string address_of(int node) {
  return fmt::format("10.77.0.{}", node);
}
std::filesystem::path authority_directory(const Plan& plan) {
  return plan.directory / "authority";
}

NodeFiles files_of(const Plan& plan, int node) {
  const std::filesystem::path directory = plan.directory / node_name(node);
  return {.directory = directory,
          .configuration = directory / "dvsd.toml",
          .log = directory / "log",
          .state = directory / "state",
          .run = directory / "run",
          .certificate = directory / "certificate"};
}

std::string configuration_text(const Plan& plan, int node) {
  const NodeFiles files = files_of(plan, node);
  std::string text = fmt::format("node = {}\nstate_dir = \"{}\"\nrun_dir = \"{}\"\n", node,
                                 files.state.string(), files.run.string());
  // The first node begins the cluster, the others are taken in by it.
  const std::string consensus =
      fmt::format("[consensus]\nfirst = {}\n", node == 1 ? "true" : "false");
  if (!plan.has_network()) return text + consensus;
  text += fmt::format("listen = \"{}:{}\"\n[certificate]\ndirectory = \"{}\"\n", address_of(node),
                      link_port, files.certificate.string());
  text += consensus;
  for (int peer = 1; peer <= plan.nodes; ++peer) {
    if (peer == node) continue;
    text +=
        fmt::format("[[peers]]\nid = {}\naddress = \"{}:{}\"\n", peer, address_of(peer), link_port);
  }
  return text;
}

std::string switch_commands(const Plan& plan) {
  std::string text = "link set lo up\nlink add bridge type bridge\nlink set bridge up\n";
  for (int node = 1; node <= plan.nodes; ++node) {
    text += fmt::format(
        "link add {0} type veth peer name eth0 netns {1}\nlink set {0} master bridge\n"
        "link set {0} up\n",
        node_name(node), namespace_name(plan, node));
  }
  return text;
}

std::string node_commands(int node) {
  return fmt::format("link set lo up\naddress add {}/16 dev eth0\nlink set eth0 up\n",
                     address_of(node));
}

std::vector<int> cores_of(const Plan& plan, int node, const std::vector<int>& machine_cores) {
  std::vector<int> cores;
  if (machine_cores.empty()) return cores;
  const auto wanted = static_cast<std::size_t>(std::max(plan.cores_per_node, 0));
  for (std::size_t i = 0; i < std::min(wanted, machine_cores.size()); ++i) {
    const std::size_t index = static_cast<std::size_t>(node - 1) * wanted + i;
    cores.push_back(machine_cores[index % machine_cores.size()]);
  }
  std::ranges::sort(cores);
  return cores;
}

Result<int> parse_node(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with('n')) digits.remove_prefix(1);
  int node = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, node);
  if (error != std::errc{} || stop != end || node < 1 || node > 65535) {
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\" is no node; say \"n2\" or \"2\"", text));
  }
  return node;
}

}  // namespace dvs::local
