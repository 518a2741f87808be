// dvs cluster status, up and down.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/table.hpp"
#include "cli/target_node.hpp"
#include "local/cluster.hpp"
#include "local/process.hpp"

namespace dvs::cli {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr auto links_patience = std::chrono::seconds(15);
constexpr auto poll_interval = std::chrono::milliseconds(20);

const json::array& array_in(const json::value& object, std::string_view key) {
  static const json::array none;
  const json::value* value = object.is_object() ? object.get_object().if_contains(key) : nullptr;
  return value != nullptr && value->is_array() ? value->get_array() : none;
}

const json::value& object_in(const json::value& object, std::string_view key) {
  static const json::value none;
  const json::value* value = object.is_object() ? object.get_object().if_contains(key) : nullptr;
  return value != nullptr ? *value : none;
}

}  // namespace

// --- status --------------------------------------------------------------------------------------

namespace {

// What the processes of a local cluster do, beside what the asked node believes of them.
json::array daemons_json(const local::Record& record) {
  json::array daemons;
  for (int node = 1; node <= record.plan.nodes; ++node) {
    const local::ProcessIdentity& process = record.daemon_of(node);
    daemons.push_back(json::object{
        {"id", node}, {"pid", process.pid}, {"state", name_of(local::state_of(process))}});
  }
  return daemons;
}

std::string daemon_text(const std::optional<local::Record>& record, const std::string& id) {
  const auto node = local::parse_node(id);
  if (!record || !node || *node > record->plan.nodes) return {};
  return name_of(local::state_of(record->daemon_of(*node)));
}

std::string links_text(const json::value& cluster, const std::string& id) {
  std::string text;
  std::set<std::string> states;
  for (const json::value& link : array_in(cluster, "links")) {
    if (text_of(link, "node") != id) continue;
    const std::string state = text_of(link, "state");
    states.insert(state);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", text_of(link, "lane"), state);
  }
  return states.size() == 1 ? "all " + *states.begin() : text;
}

std::string member_list(const json::array& members) {
  std::string text;
  for (const json::value& member : members) {
    const std::string id = member.is_object() ? text_of(member, "id") : json::serialize(member);
    text += (text.empty() ? "n" : " n") + id;
  }
  return text.empty() ? "nobody" : text;
}

void print_consensus(const json::value& consensus) {
  if (!consensus.is_object()) return;
  const std::string leader = text_of(consensus, "leader");
  fmt::print("leader      {}, term {}; voters {}\n", leader == "0" ? "unknown" : "n" + leader,
             text_of(consensus, "term"), member_list(array_in(consensus, "voters")));
  const json::array& lost = array_in(consensus, "lost");
  if (!lost.empty()) fmt::print("lost        {}\n", member_list(lost));
  if (text_of(consensus, "is_frozen") == "true") {
    fmt::print(
        "frozen      this node does not hear the majority: it gives no names until it does\n");
  }
}

void print_cluster(const json::value& cluster, const std::optional<local::Record>& record) {
  const json::value& view = object_in(cluster, "view");
  const bool is_static = text_of(view, "is_static") == "true";
  if (record) {
    fmt::print("cluster     {}, local, in {}{}\n", record->plan.name,
               record->plan.directory.string(),
               record->is_complete ? "" : " (never came up completely)");
  }
  fmt::print("id          {}\n", text_of(cluster, "id"));
  fmt::print("asked       n{}\n", text_of(cluster, "answered_by"));
  fmt::print("view        {}{}: {}\n", text_of(view, "number"),
             is_static ? " (from the configuration)" : "",
             member_list(array_in(cluster, "members")));
  fmt::print("suspected   {}\n", member_list(array_in(cluster, "suspected")));
  print_consensus(object_in(cluster, "consensus"));
  fmt::print("\n");
  Table table(record ? std::vector<std::string>{"NODE", "STATE", "LINKS", "ADDRESS", "DAEMON"}
                     : std::vector<std::string>{"NODE", "STATE", "LINKS", "ADDRESS"});
  for (const json::value& member : array_in(cluster, "members")) {
    const std::string id = text_of(member, "id");
    std::vector<std::string> row = {"n" + id, text_of(member, "state"), links_text(cluster, id),
                                    text_of(member, "address")};
    if (record) row.push_back(daemon_text(record, id));
    table.add(std::move(row));
  }
  fmt::print("{}", table.text());
}

}  // namespace

int show_cluster(const Options& options) {
  const auto target = choose_target(options);
  if (!target) return complain(target.error());
  auto cluster = ApiClient(HttpClient(target->socket)).get("/v1/cluster");
  if (!cluster) return complain(cluster.error());
  if (options.is_json && cluster->is_object()) {
    if (target->local) {
      const local::Plan& plan = target->local->plan;
      cluster->get_object()["local"] = {{"name", plan.name},
                                        {"directory", plan.directory.string()},
                                        {"daemons", daemons_json(*target->local)}};
    }
    fmt::print("{}\n", json::serialize(*cluster));
  } else {
    print_cluster(*cluster, target->local);
  }
  return exit_success;
}

// --- up ------------------------------------------------------------------------------------------

namespace {

volatile std::sig_atomic_t is_interrupted = 0;

// The first Ctrl-C lets `up` take back what it made, the second one ends it where it is; `down`
// then does the rest.
void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { is_interrupted = 1; };
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool tell_progress(const std::string& text) {
  fmt::print(stderr, "{}\n", text);
  return is_interrupted == 0;
}

bool is_program(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

// As told; beside this program; as installed; in $PATH.
Result<fs::path> find_daemon(const Options& options) {
  if (!options.daemon.empty()) {
    if (is_program(options.daemon)) return fs::absolute(options.daemon);
    return fail(Errc::invalid_argument, options.daemon.string() + " is no program");
  }
  std::error_code ignored;
  const fs::path own = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::vector<fs::path> places = {own, own.parent_path() / "sbin"};
  const char* variable = std::getenv("PATH");
  std::istringstream path(variable != nullptr ? variable : "");
  for (std::string folder; std::getline(path, folder, ':');) places.emplace_back(folder);
  for (const fs::path& place : places) {
    if (is_program(place / "dvsd")) return place / "dvsd";
  }
  return fail(Errc::unsupported,
              "the program dvsd is neither beside dvs nor in $PATH; install it, "
              "or name it with --dvsd");
}

bool has_all_links(const local::Plan& plan, int node) {
  const auto nodes = ApiClient(HttpClient(local::api_socket(plan, node))).get("/v1/nodes");
  return nodes && nodes->is_array() &&
         nodes->get_array().size() == static_cast<std::size_t>(plan.nodes) &&
         std::ranges::all_of(nodes->get_array(), [](const json::value& entry) {
           return text_of(entry, "state") == "up";
         });
}

// False: not in time.
bool await_links(const local::Plan& plan) {
  const auto deadline = std::chrono::steady_clock::now() + links_patience;
  for (int node = 1; node <= plan.nodes; ++node) {
    while (!has_all_links(plan, node)) {
      if (is_interrupted != 0 || std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(poll_interval);
    }
  }
  return true;
}

int report_up(const local::Record& record, const Options& options) {
  const local::Plan& plan = record.plan;
  const bool is_linked = await_links(plan);
  if (options.is_json) {
    fmt::print("{}\n", json::serialize(json::object{{"name", plan.name},
                                                    {"directory", plan.directory.string()},
                                                    {"is_linked", is_linked},
                                                    {"daemons", daemons_json(record)}}));
  } else if (is_linked) {
    const std::string which = plan.name == "dvs" ? "" : " --cluster " + plan.name;
    fmt::print(
        "The local cluster \"{0}\" is up, with {1} node{2}.\n"
        "  dvs cluster status{3}\n"
        "  dvs{3} --at n{1} node inspect\n"
        "Programs on node 1 attach with DVK_SOCKET={4}\n"
        "End it with: dvs cluster down{3}\n",
        plan.name, plan.nodes, plan.nodes == 1 ? "" : "s", which,
        (local::files_of(plan, 1).run / "dvk.sock").string());
  }
  if (is_linked) return exit_success;
  fmt::print(stderr,
             "dvs: all nodes are up, but not all links between them; see: dvs cluster status, and "
             "dvs --at n1 logs\n");
  return exit_failure;
}

}  // namespace

int bring_cluster_up(const Options& options) {
  if (options.local_nodes == 0) {
    fmt::print(stderr,
               "dvs: say how many nodes this machine shall have: dvs cluster up --local 3. On "
               "several machines start dvsd on each: docs/handbook/dvsd.md\n");
    return exit_usage;
  }
  const auto daemon = find_daemon(options);
  if (!daemon) return complain(daemon.error());
  const local::RecordStore store;
  const local::Plan plan = {.name = options.cluster,
                            .directory = options.directory.empty()
                                             ? store.directory_of(options.cluster)
                                             : fs::absolute(options.directory).lexically_normal(),
                            .nodes = options.local_nodes,
                            .cores_per_node = options.cores_per_node};
  const auto cores = static_cast<int>(local::machine_cores().size());
  if (plan.nodes * plan.cores_per_node > cores) {
    tell_progress(fmt::format("this machine has {} cores: nodes share them", cores));
  }
  catch_interrupts();
  const auto record = local::bring_up(store, plan, daemon->string(), tell_progress);
  return record ? report_up(*record, options) : complain(record.error());
}

// --- down ----------------------------------------------------------------------------------------

int take_cluster_down(const Options& options) {
  const auto was_there = local::take_down(local::RecordStore(), options.cluster, tell_progress);
  if (!was_there) return complain(was_there.error());
  if (options.is_json) {
    fmt::print("{}\n",
               json::serialize(json::object{{"name", options.cluster}, {"was_there", *was_there}}));
  } else if (*was_there) {
    fmt::print("The local cluster \"{}\" is gone.\n", options.cluster);
  } else {
    fmt::print("There is no local cluster \"{}\": nothing to take away.\n", options.cluster);
  }
  return exit_success;
}

}  // namespace dvs::cli
