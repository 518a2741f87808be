// See dvsd_command_line.hpp.
#include "apps/dvsd_command_line.hpp"

#include <CLI/CLI.hpp>

#include "apps/version.hpp"

namespace dvsd {
namespace {

// An option that says nothing when it is not given.
template <class T>
void add_override(CLI::App& app, const char* name, std::optional<T>& out, const char* text) {
  app.add_option_function<T>(
      name, [&out](const T& value) { out = value; }, text);
}

void add_run_options(CLI::App& app, Run& run) {
  auto& overrides = run.overrides;
  add_override<std::filesystem::path>(app, "--config", overrides.config_file,
                                      "configuration file (TOML)");
  add_override<std::uint32_t>(app, "--node", overrides.node, "number of this node, 1 to 65535");
  add_override<std::filesystem::path>(app, "--state-dir", overrides.state_dir,
                                      "what must outlive the daemon (/var/lib/dvsd)");
  add_override<std::filesystem::path>(app, "--run-dir", overrides.run_dir,
                                      "its sockets (/run/dvsd)");
  add_override<std::string>(app, "--listen", overrides.listen,
                            "HOST:PORT where other nodes reach this one");
  app.add_option("--peer", overrides.peers, "another node, N=HOST:PORT; may be repeated")
      ->take_all();
  app.add_flag("--insecure-plaintext", overrides.insecure_plaintext,
               "links without encryption or authentication: for tests only");
  add_override<std::string>(app, "--log-level", overrides.log_level,
                            "trace, debug, info, warn, error, critical or off (info)");
  app.add_flag("--check-config", run.only_check, "check the configuration and end");
}

CLI::App* add_pki_init(CLI::App& pki, PkiInit& init) {
  CLI::App* command = pki.add_subcommand("init", "makes a new cluster and its authority");
  command->add_option("--dir", init.directory, "where the authority's files go")->required();
  command->add_option("--cluster", init.cluster, "the cluster's name, for people")->required();
  command->add_option("--days", init.days, "validity (3650)")->check(CLI::Range(1, 36500));
  return command;
}

CLI::App* add_pki_issue(CLI::App& pki, PkiIssue& issue) {
  CLI::App* command = pki.add_subcommand("issue", "issues a node's certificate");
  command->add_option("--dir", issue.directory, "where the authority's files are")->required();
  command->add_option("--node", issue.node, "the node's number")
      ->required()
      ->check(CLI::Range(1, 65535));
  command->add_option("--out", issue.out, "where the node's files go (DIR/node-N)");
  command->add_option("--days", issue.days, "validity (365)")->check(CLI::Range(1, 36500));
  return command;
}

CLI::App* add_control(CLI::App& app, Control& control, std::vector<std::string>& words) {
  CLI::App* command = app.add_subcommand("control", "sends a command to the running dvsd");
  command->add_option("--run-dir", control.run_dir, "its run directory (/run/dvsd)");
  command->add_option("command", words, "status, cut N, stop")->required();
  return command;
}

}  // namespace

Request read_command_line(int argument_count, char** arguments) {
  CLI::App app("dvsd hosts the distributed virtualization kernel on a node.", "dvsd");
  app.set_version_flag("--version", std::string("dvsd ") + version);
  app.require_subcommand(0, 1);
  Run run;
  PkiInit init;
  PkiIssue issue;
  Control control{"/run/dvsd", {}};
  std::vector<std::string> words;
  add_run_options(app, run);
  CLI::App* pki =
      app.add_subcommand("pki", "makes the certificates that nodes prove themselves by");
  pki->require_subcommand(1);
  const CLI::App* init_command = add_pki_init(*pki, init);
  const CLI::App* issue_command = add_pki_issue(*pki, issue);
  const CLI::App* control_command = add_control(app, control, words);
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return Done{app.exit(error) == 0 ? 0 : exit_usage};
  }
  if (init_command->parsed()) return init;
  if (issue_command->parsed()) return issue;
  if (!control_command->parsed()) return run;
  for (const std::string& word : words) {
    control.command += (control.command.empty() ? "" : " ") + word;
  }
  return control;
}

}  // namespace dvsd
