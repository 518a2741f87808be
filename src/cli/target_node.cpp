// See target_node.hpp.
#include "cli/target_node.hpp"

#include <fmt/format.h>

#include "api/api_source.hpp"
#include "local/cluster.hpp"
#include "local/process.hpp"

namespace dvs::cli {
namespace {

constexpr const char* system_run_directory = "/run/dvsd";

Result<TargetNode> node_of(local::Record record, int node) {
  if (node > record.plan.nodes) {
    return fail(Errc::invalid_argument,
                fmt::format("the local cluster \"{}\" has n1 to n{}, but no n{}", record.plan.name,
                            record.plan.nodes, node));
  }
  std::string socket = local::api_socket(record.plan, node);
  return TargetNode{std::move(socket), std::move(record), node};
}

int first_that_runs(const local::Record& record) {
  for (int node = 1; node <= record.plan.nodes; ++node) {
    if (local::state_of(record.daemon_of(node)) == local::ProcessState::running) return node;
  }
  return 1;
}

std::string remedy_for(const Error& error) {
  if (error == Errc::unreachable) {
    return "\nStart it with: systemctl start dvsd, make a local cluster with: dvs cluster up "
           "--local 3, or name another one with --socket or --at.";
  }

  return {};
}

}  // namespace

Result<TargetNode> choose_target(const Options& options, const local::RecordStore& store) {
  if (!options.socket.empty()) {
    if (options.at.empty()) return TargetNode{options.socket, std::nullopt, 0};
    return fail(Errc::invalid_argument, "--socket and --at name a node each; say one of them");
  }
  DVS_TRY(auto record, store.read(options.cluster));
  if (options.at.empty()) {
    if (!record) {
      return TargetNode{std::string(system_run_directory) + "/" + api::socket_name, std::nullopt,
                        0};
    }
    const int node = first_that_runs(*record);
    return node_of(*std::move(record), node);
  }
  DVS_TRY(const int node, local::parse_node(options.at));
  if (record) return node_of(*std::move(record), node);
  return fail(
      Errc::invalid_argument,
      fmt::format("--at {}: there is no local cluster \"{}\"; make one with: dvs cluster up "
                  "--local 3, or name a socket with --socket",
                  options.at, options.cluster));
}

Result<ApiClient> connect(const Options& options) {
  DVS_TRY(TargetNode target, choose_target(options));
  return ApiClient(HttpClient(std::move(target.socket)));
}

int complain(const Error& error) {
  // Where nothing but an argument is wrong, its code adds nothing.
  const std::string text =
      error.detail.empty() || error.code == Errc::system ? to_string(error) : error.detail;
  fmt::print(stderr, "dvs: {}{}\n", text, remedy_for(error));
  return error == Errc::invalid_argument ? exit_usage : exit_failure;
}

}  // namespace dvs::cli
