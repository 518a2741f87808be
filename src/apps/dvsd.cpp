// dvsd: reads what it is asked to do and does it. Exit codes: 0, 1 failure, 2 usage or
// configuration.
#include <exception>
#include <variant>

#include <fmt/format.h>

#include "apps/daemon_api.hpp"
#include "apps/dvsd_command_line.hpp"
#include "apps/dvsd_pki.hpp"
#include "cluster/node/cluster_node.hpp"
#include "dvk/daemon/control_server.hpp"
#include "dvk/daemon/daemon.hpp"
#include "dvk/daemon/log.hpp"

namespace dvsd {
namespace {

int serve(const Done& done) {
  return done.exit_code;
}

int serve(const Control& control) {
  const auto answer =
      dvk::daemon::ask_daemon((control.run_dir / "control.sock").string(), control.command);
  if (!answer) {
    fmt::print(stderr, "dvsd: {}\n", dvs::to_string(answer.error()));
    return exit_failure;
  }
  fmt::print("{}", *answer);
  return answer->starts_with(R"({"ok":true)") ? 0 : exit_failure;
}

dvs::cluster::ClusterNodeConfig cluster_config(const dvk::daemon::Config& config) {
  dvs::cluster::ClusterNodeConfig cluster;
  cluster.self = config.node;
  cluster.name = fmt::format("n{}", dvs::raw(config.node));
  cluster.address = config.has_links()
                        ? fmt::format("{}:{}", config.listen_host, config.listen_port)
                        : std::string("none");
  cluster.directory = config.state_dir / "consensus";
  cluster.boot_file = config.run_dir / "boot";
  cluster.is_first = config.consensus->is_first;
  cluster.voters_max = config.consensus->voters_max;
  cluster.membership.lost_after = config.consensus->lost_after;
  return cluster;
}

dvs::Result<void> run_daemon(const dvk::daemon::Config& config) {
  DVS_TRY(const auto daemon, dvk::daemon::Daemon::create(config));
  const dvs::cluster::ClusterNode* cluster = nullptr;
  if (config.consensus) {
    auto node = std::make_unique<dvs::cluster::ClusterNode>(cluster_config(config));
    cluster = node.get();
    daemon->use_views(std::move(node));
  }
  DVS_CHECK(daemon->extend(make_api(config, cluster)));
  return daemon->run();
}

int serve(const Run& request) {
  auto config = dvk::daemon::load_config(request.overrides);
  if (!config) {
    fmt::print(stderr, "dvsd: {}\n", config.error().detail);
    return exit_usage;
  }
  if (request.only_check) {
    const auto cluster = dvk::daemon::cluster_id_of(*config);
    if (!cluster) fmt::print(stderr, "dvsd: {}\n", dvs::to_string(cluster.error()));
    return cluster ? 0 : exit_usage;
  }
  dvk::daemon::set_up_log(config->log_level);
  const auto result = run_daemon(*config);
  if (result) return 0;
  spdlog::critical("event=failed error={}", dvk::daemon::log_text(result.error()));
  return exit_failure;
}

int serve(const PkiInit& request) {
  return run(request);
}
int serve(const PkiIssue& request) {
  return run(request);
}

int serve_request(const Request& request) {
  return std::visit([](const auto& what) { return serve(what); }, request);
}

}  // namespace
}  // namespace dvsd

int main(int argument_count, char** arguments) {
  try {
    return dvsd::serve_request(dvsd::read_command_line(argument_count, arguments));
  } catch (const std::exception& error) {
    // Libraries throw where nothing can be done any more: out of memory, mostly.
    fmt::print(stderr, "dvsd: {}\n", error.what());
    return dvsd::exit_failure;
  }
}
