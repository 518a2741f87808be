#include "integration/local_cluster.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include <boost/json/parse.hpp>

#include "integration/cluster.hpp"

namespace integration {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr const char* isolated = "DVS_TEST_IS_ISOLATED";

std::vector<std::string> split(const std::string& words) {
  std::istringstream stream(words);
  return {std::istream_iterator<std::string>(stream), {}};
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// This program is the first of its process namespace: orphans come to it.
void reap() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

}  // namespace

// --- Isolation -----------------------------------------------------------------------------------

void isolate(int argc, char** argv) {
  if (geteuid() != 0 || std::getenv(isolated) != nullptr) return;
  std::vector<std::string> words = {"unshare", "--net",        "--mount",      "--pid",
                                    "--fork",  "--kill-child", "--mount-proc", "true"};
  if (!run({.command = words})) return;  // the tests are skipped, and say why
  words.insert(words.end(), argv + 1, argv + argc);
  // After unshare it would mean that program.
  words[7] = fs::read_symlink("/proc/self/exe").string();
  std::vector<char*> raw;
  for (std::string& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  setenv(isolated, "1", 1);
  execvp(raw[0], raw.data());
  unsetenv(isolated);
}

std::string reason_to_skip_local() {
  if (geteuid() != 0) return "needs root, for network namespaces";
  if (std::getenv(isolated) == nullptr) return "may not make namespaces here, or has no unshare";
  if (run_program({"ip", "-V"}).exit_code != 0) return "needs the program ip (package iproute2)";
  static const bool is_mounted = [] {
    return mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0 &&
           mount("tmpfs", "/var/lib", "tmpfs", 0, nullptr) == 0;
  }();
  return is_mounted ? "" : "cannot mount a tmpfs";
}

Outcome run_program(std::vector<std::string> command, std::vector<std::string> environment,
                    uid_t uid) {
  char path[] = "/tmp/dvs-output-XXXXXX";
  close(mkstemp(path));
  auto child = must(Child::start({.command = std::move(command),
                                  .environment = std::move(environment),
                                  .uid = uid,
                                  .log = path}),
                    "start");
  const auto code = child.wait(patience * 2);
  Outcome outcome{code.value_or(-1), read_file(path)};
  unlink(path);
  return outcome;
}

std::string traces() {
  reap();
  std::string text =
      run_program({"ip", "netns"}).output + run_program({"ip", "-br", "link"}).output;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    text += line.substr(line.find('/')) + "\n";
  }
  std::vector<std::string> processes;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = read_file(entry.path() / "cmdline");
    if (!name.empty()) processes.push_back(name.c_str());
  }
  std::ranges::sort(processes);
  for (const std::string& process : processes) text += process + "\n";
  for (const char* folder : {"/run", "/var/lib"}) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      text += entry.path().string() + "\n";
    }
  }
  std::error_code ignored;
  for (const auto& entry : fs::recursive_directory_iterator(
           "/sys/fs/cgroup", fs::directory_options::skip_permission_denied, ignored)) {
    const std::string path = entry.path().string();
    if (entry.is_directory(ignored) && path.find("dvs") != std::string::npos) text += path + "\n";
  }
  return text;
}

// --- The cluster ---------------------------------------------------------------------------------

LocalCluster::LocalCluster(std::string name) : name_(std::move(name)) {}

LocalCluster::~LocalCluster() {
  dvs("cluster down");
  reap();
}

fs::path LocalCluster::record() const {
  return "/var/lib/dvs/local/" + name_ + ".json";
}
fs::path LocalCluster::directory() const {
  return "/var/lib/dvs/local/" + name_;
}
std::string LocalCluster::socket(int node) const {
  return directory() / ("n" + std::to_string(node)) / "run/dvk.sock";
}

Outcome LocalCluster::dvs(const std::string& words) const {
  std::vector<std::string> command = {DVS_PROGRAM};
  std::ranges::move(split(words), std::back_inserter(command));
  return run_program(std::move(command), {"DVS_CLUSTER=" + name_});
}

std::string LocalCluster::must(const std::string& words) const {
  const Outcome outcome = dvs(words);
  EXPECT_EQ(outcome.exit_code, 0) << words << "\n" << outcome.output;
  return outcome.output;
}

json::value LocalCluster::json(const std::string& words) const {
  std::string text = must("--json " + words);
  // Progress comes before, on the other stream.
  const std::size_t begin = text.find_first_of("[{");
  boost::system::error_code error;
  json::value value = json::parse(begin == std::string::npos ? "" : text.substr(begin), error);
  EXPECT_FALSE(error) << words << "\n" << text;
  return value;
}

Child LocalCluster::start(const std::string& words, const fs::path& log) const {
  std::vector<std::string> command = {DVS_PROGRAM};
  std::ranges::move(split(words), std::back_inserter(command));
  return integration::must(
      Child::start(
          {.command = std::move(command), .environment = {"DVS_CLUSTER=" + name_}, .log = log}),
      "start dvs");
}

std::string LocalCluster::state(int node, const std::string& asked) const {
  const json::value nodes = json("--at " + asked + " node ls");
  if (!nodes.is_array()) return "";
  for (const json::value& entry : nodes.get_array()) {
    if (entry.at("id").to_number<int>() == node) return std::string(entry.at("state").as_string());
  }
  return "";
}

bool LocalCluster::await_state(int node, bool is_up, const std::string& asked) const {
  const auto end = std::chrono::steady_clock::now() + patience;
  while ((state(node, asked) == "up") != is_up) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

std::string LocalCluster::daemon_state(int node) const {
  const json::value status = json("cluster status");
  const json::value& daemon =
      status.at("local").at("daemons").at(static_cast<std::size_t>(node - 1));
  return std::string(daemon.at("state").as_string());
}

}  // namespace integration
