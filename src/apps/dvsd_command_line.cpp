// See dvsd_command_line.hpp.
#include "apps/dvsd_command_line.hpp"

#include <CLI/CLI.hpp>

#include "apps/version.hpp"

namespace dvsd {
namespace {

template <class T>
void keep_given(const CLI::Option* option, const T& value, std::optional<T>& out) {
  if (option->count() != 0) out = value;
}

}  // namespace

Request read_command_line(int argument_count, char** arguments) {
  CLI::App app("dvsd hosts the distributed virtualization kernel on a node.", "dvsd");
  app.set_version_flag("--version", std::string("dvsd ") + version);
  app.require_subcommand(0, 1);

  Run run;
  std::filesystem::path config_file, state_dir, run_dir;
  std::uint32_t node = 0;
  std::string listen, log_level;
  const auto* config_option = app.add_option("--config", config_file, "configuration file (TOML)");
  const auto* node_option = app.add_option("--node", node, "number of this node, 1 to 65535");
  const auto* state_option =
      app.add_option("--state-dir", state_dir, "what must outlive the daemon (/var/lib/dvsd)");
  const auto* run_option = app.add_option("--run-dir", run_dir, "its sockets (/run/dvsd)");
  const auto* listen_option =
      app.add_option("--listen", listen, "HOST:PORT where other nodes reach this one");
  app.add_option("--peer", run.overrides.peers, "another node, N=HOST:PORT; may be repeated")
      ->take_all();
  app.add_flag("--insecure-plaintext", run.overrides.insecure_plaintext,
               "links without encryption or authentication: for tests only");
  const auto* level_option = app.add_option(
      "--log-level", log_level, "trace, debug, info, warn, error, critical or off (info)");
  app.add_flag("--check-config", run.only_check, "check the configuration and end");

  auto* pki = app.add_subcommand("pki", "makes the certificates that nodes prove themselves by");
  pki->require_subcommand(1);
  PkiInit init;
  auto* init_command = pki->add_subcommand("init", "makes a new cluster and its authority");
  init_command->add_option("--dir", init.directory, "where the authority's files go")->required();
  init_command->add_option("--cluster", init.cluster, "the cluster's name, for people")->required();
  init_command->add_option("--days", init.days, "validity (3650)")->check(CLI::Range(1, 36500));
  PkiIssue issue;
  auto* issue_command = pki->add_subcommand("issue", "issues a node's certificate");
  issue_command->add_option("--dir", issue.directory, "where the authority's files are")->required();
  issue_command->add_option("--node", issue.node, "the node's number")
      ->required()
      ->check(CLI::Range(1, 65535));
  issue_command->add_option("--out", issue.out, "where the node's files go (DIR/node-N)");
  issue_command->add_option("--days", issue.days, "validity (365)")->check(CLI::Range(1, 36500));

  Control control{"/run/dvsd", {}};
  std::vector<std::string> words;
  auto* control_command = app.add_subcommand("control", "sends a command to the running dvsd");
  control_command->add_option("--run-dir", control.run_dir, "its run directory (/run/dvsd)");
  control_command->add_option("command", words, "status, cut N, stop")->required();

  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return Done{app.exit(error) == 0 ? 0 : exit_usage};
  }
  if (init_command->parsed()) return init;
  if (issue_command->parsed()) return issue;
  if (control_command->parsed()) {
    for (const std::string& word : words) {
      control.command += (control.command.empty() ? "" : " ") + word;
    }
    return control;
  }
  keep_given(config_option, config_file, run.overrides.config_file);
  keep_given(node_option, node, run.overrides.node);
  keep_given(state_option, state_dir, run.overrides.state_dir);
  keep_given(run_option, run_dir, run.overrides.run_dir);
  keep_given(listen_option, listen, run.overrides.listen);
  keep_given(level_option, log_level, run.overrides.log_level);
  return run;
}

}  // namespace dvsd
