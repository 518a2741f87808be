#include "nodes.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace bench {
namespace {

using dvs::Errc;

std::filesystem::path daemon_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
         "dvsd";
}

std::string directory_of(const std::string& directory, int node) {
  return directory + "/n" + std::to_string(node);
}

Result<pid_t> spawn(const std::vector<std::string>& words, const std::string& log) {
  const pid_t pid = fork();
  if (pid < 0) return dvs::fail_os("fork");
  if (pid == 0) {
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1), dup2(fd, 2);
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  return pid;
}

Result<void> run(const std::vector<std::string>& words, const std::string& log) {
  DVS_TRY(const pid_t pid, spawn(words, log));
  int status = 0;
  if (waitpid(pid, &status, 0) < 0) return dvs::fail_os("wait");
  if (status == 0) return {};
  std::string line;
  for (const std::string& word : words) line += word + " ";
  return dvs::fail(Errc::system, line + "failed; see " + log);
}

}  // namespace

Result<Nodes> Nodes::lone() {
  Nodes nodes;
  char name[] = "/tmp/dvk-bench-XXXXXX";
  if (mkdtemp(name) == nullptr) return dvs::fail_os("mkdtemp");
  nodes.directory_ = name;
  DVS_CHECK(nodes.start(1, {}));
  return nodes;
}

Result<Nodes> Nodes::two(bool is_encrypted) {
  Nodes nodes;
  char name[] = "/tmp/dvk-bench-XXXXXX";
  if (mkdtemp(name) == nullptr) return dvs::fail_os("mkdtemp");
  nodes.directory_ = name;
  const std::string log = nodes.directory_ + "/log", tag = std::to_string(getpid());
  for (int node = 1; node <= 2; ++node) {
    nodes.namespaces_.push_back("dvkbench" + tag + "n" + std::to_string(node));
    DVS_CHECK(run({"ip", "netns", "add", nodes.namespaces_.back()}, log));
  }
  DVS_CHECK(run({"ip", "link", "add", "veth0", "netns", nodes.namespaces_[0], "type", "veth",
                 "peer", "name", "veth0", "netns", nodes.namespaces_[1]},
                log));
  const std::string daemon = daemon_path(), pki = nodes.directory_ + "/pki";
  if (is_encrypted)
    DVS_CHECK(run({daemon, "pki", "init", "--dir", pki, "--cluster", "bench"}, log));
  for (int node = 1; node <= 2; ++node) {
    const std::string& space = nodes.namespaces_[static_cast<std::size_t>(node - 1)];
    const std::string number = std::to_string(node), other = std::to_string(3 - node);
    DVS_CHECK(
        run({"ip", "-n", space, "addr", "add", nodes.address(node) + "/24", "dev", "veth0"}, log));
    DVS_CHECK(run({"ip", "-n", space, "link", "set", "veth0", "up"}, log));
    DVS_CHECK(run({"ip", "-n", space, "link", "set", "lo", "up"}, log));
    std::vector<std::string> arguments = {"--listen", nodes.address(node) + ":7100", "--peer",
                                          other + "=" + nodes.address(3 - node) + ":7100"};
    if (is_encrypted) {
      const std::string own = nodes.directory_ + "/cert" + number;
      DVS_CHECK(run({daemon, "pki", "issue", "--dir", pki, "--node", number, "--out", own}, log));
      const std::string config = directory_of(nodes.directory_, node) + ".toml";
      std::ofstream(config) << "[certificate]\ndirectory = \"" << own << "\"\n";
      arguments.insert(arguments.end(), {"--config", config});
    } else {
      arguments.push_back("--insecure-plaintext");
    }
    DVS_CHECK(nodes.start(node, arguments));
  }
  return nodes;
}

Result<void> Nodes::start(int node, const std::vector<std::string>& more) {
  const std::string home = directory_of(directory_, node);
  std::filesystem::create_directories(home);
  std::vector<std::string> words;
  if (!namespaces_.empty()) words = {"ip", "netns", "exec", network_namespace(node)};
  words.insert(words.end(), {daemon_path(), "--node", std::to_string(node), "--run-dir",
                             home + "/run", "--state-dir", home + "/state"});
  words.insert(words.end(), more.begin(), more.end());
  DVS_TRY(const pid_t pid, spawn(words, home + "/log"));
  daemons_.push_back(pid);
  for (int tries = 0; tries < 200; ++tries) {
    if (access(socket(node).c_str(), F_OK) == 0) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return dvs::fail(Errc::deadline, "dvsd did not start; see " + home + "/log");
}

std::string Nodes::socket(int node) const {
  return directory_of(directory_, node) + "/run/dvk.sock";
}

std::string Nodes::network_namespace(int node) const {
  return namespaces_.empty() ? "" : namespaces_.at(static_cast<std::size_t>(node - 1));
}

std::string Nodes::address(int node) const {
  return "10.99.0." + std::to_string(node);
}

void Nodes::pin(int node, int processor) const {
  cpu_set_t set;
  CPU_ZERO(&set);
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  for (int i = 0; i < count; ++i) {
    if (processor < 0 || i == processor) CPU_SET(i, &set);
  }
  sched_setaffinity(daemons_.at(static_cast<std::size_t>(node - 1)), sizeof set, &set);
}

Nodes::~Nodes() {
  for (const pid_t daemon : daemons_) {
    kill(daemon, SIGTERM);
    waitpid(daemon, nullptr, 0);
  }
  for (const std::string& space : namespaces_) {
    static_cast<void>(run({"ip", "netns", "del", space}, "/dev/null"));
  }
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

}  // namespace bench
