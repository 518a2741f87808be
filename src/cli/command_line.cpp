// See command_line.hpp.
#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/completion.hpp"
#include "cli/target_node.hpp"
#include "local/plan.hpp"

namespace dvs::cli {
namespace {

// Hidden from the ordinary help.
constexpr const char* hidden = "";

class Tree {
 public:
  Tree(Options& options, Command& command) : options_(options), command_(command) {}

  void add_global_options(CLI::App& app);
  void add_cluster(CLI::App& app);
  void add_node(CLI::App& app);
  void add_watching(CLI::App& app);
  void add_dev(CLI::App& app);
  void add_completion(CLI::App& app);

  CLI::App* add(CLI::App& parent, const char* name, const char* text, Command command) {
    CLI::App* app = parent.add_subcommand(name, text);
    app->callback([this, command] { command_ = command; });
    return app;
  }

 private:
  static CLI::App* add_group(CLI::App& parent, const char* name, const char* text) {
    CLI::App* group = parent.add_subcommand(name, text);
    group->require_subcommand(1);
    return group;
  }

  Options& options_;
  Command& command_;
};

void Tree::add_global_options(CLI::App& app) {
  app.add_option("--at", options_.at, "a node of the local cluster, like n2")->type_name("NODE");
  app.add_option("--socket", options_.socket, "the API's socket of the dvsd to ask")
      ->type_name("PATH");
  app.add_option("--cluster", options_.cluster, "the local cluster (dvs)")
      ->envname("DVS_CLUSTER")
      ->type_name("NAME");
  app.add_flag("--json", options_.is_json, "print JSON");
}

void Tree::add_cluster(CLI::App& app) {
  CLI::App* cluster = add_group(app, "cluster", "the cluster as a whole");
  add(*cluster, "status", "members, links, and who is suspected", show_cluster);
  CLI::App* up = add(*cluster, "up", "make a cluster of nodes on this machine", bring_cluster_up);
  up->add_option("--local", options_.local_nodes, "so many nodes on this machine")
      ->check(CLI::Range(1, local::nodes_max))
      ->type_name("N");
  up->add_option("--cores-per-node", options_.cores_per_node, "so many cores for each (all)")
      ->check(CLI::Range(1, 4096))
      ->type_name("C");
  up->add_option("--dir", options_.directory, "for their files; must not exist yet")
      ->type_name("DIR");
  up->add_option("--dvsd", options_.daemon, "the program to run")->type_name("FILE");
  add(*cluster, "down", "end the local cluster and take away every trace of it", take_cluster_down);
}

void Tree::add_node(CLI::App& app) {
  CLI::App* node = add_group(app, "node", "the nodes of the cluster");
  add(*node, "ls", "list them", list_nodes);
  CLI::App* inspect = add(*node, "inspect", "one of them, with its links", inspect_node);
  inspect->add_option("NODE", options_.node, "like n2 (the node that is asked)");
}

void Tree::add_watching(CLI::App& app) {
  CLI::App* events = add(app, "events", "what happened on a node", show_events);
  events->add_flag("-f,--follow", options_.follow, "stay, and show what comes");
  events->add_option("--since", options_.since, "only what came after event number N")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  CLI::App* logs = add(app, "logs", "the log of a node of the local cluster", show_log);
  logs->add_flag("-f,--follow", options_.follow, "stay, and show what comes");
  logs->add_option("-n,--tail", options_.tail, "only the last N lines")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  add(app, "version", "versions of dvs and of the dvsd it speaks to", show_version);
}

void Tree::add_dev(CLI::App& app) {
  CLI::App* dev = add_group(app, "dev", "harm to a node of the local cluster, for tests");
  dev->group(hidden);
  const auto add_fault = [&](const char* name, const char* text, Command command) {
    add(*dev, name, text, command)->add_option("NODE", options_.node, "like n2")->required();
  };
  add_fault("cut", "nothing reaches the node or leaves it", cut_node);
  add_fault("heal", "undo a cut", heal_node);
  add_fault("pause", "stop its dvsd where it is", pause_node);
  add_fault("resume", "let it go on", resume_node);
  add_fault("kill", "kill its dvsd", kill_node);
  add_fault("start", "start its dvsd again", start_node);
}

int print_completion(const Options& options) {
  Options unused;
  Command none = nullptr;
  const auto script = completion_script(*make_command_line(unused, none), options.shell);
  if (!script) return complain(script.error());
  fmt::print("{}", *script);
  return exit_success;
}

void Tree::add_completion(CLI::App& app) {
  CLI::App* completion =
      add(app, "completion", "completions for a shell, to be sourced", print_completion);
  completion->add_option("SHELL", options_.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
}

// Keeps what the callbacks refer to as long as the tree itself.
class OwningApp final : public CLI::App {
 public:
  OwningApp(Options& options, Command& command)
      : CLI::App("dvs drives the Distributed Virtualization System.", "dvs"),
        tree(options, command) {}
  Tree tree;
};

}  // namespace

std::unique_ptr<CLI::App> make_command_line(Options& options, Command& command) {
  auto app = std::make_unique<OwningApp>(options, command);
  app->fallthrough();  // options for all commands may stand behind the command as well
  app->require_subcommand(1);
  app->footer("Exit codes: 0 done, 1 it could not be done, 2 the arguments are wrong.");
  app->tree.add_global_options(*app);
  app->tree.add_cluster(*app);
  app->tree.add_node(*app);
  app->tree.add_watching(*app);
  app->tree.add_completion(*app);
  app->tree.add_dev(*app);
  return app;
}

int run(int argument_count, char** arguments, const std::string& version) {
  Options options;
  options.version = version;
  Command command = nullptr;
  const auto app = make_command_line(options, command);
  app->set_version_flag("--version", "dvs " + version);
  try {
    app->parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app->exit(error) == 0 ? exit_success : exit_usage;
  }
  return command(options);
}

}  // namespace dvs::cli
