#include "integration/cluster.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <thread>

namespace integration {
namespace {

constexpr int link_port = 7400;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto stop_patience = 10s;
#else
constexpr auto stop_patience = 1s;
#endif

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

std::optional<std::string> reason_to_skip() {
  if (geteuid() != 0) return "needs root, for network namespaces";
  if (!run({.command = {"ip", "-V"}})) return "needs the program ip (package iproute2)";
  // Root of a container, perhaps.
  static const bool may_make =
      run({.command = {"unshare", "--net", "--mount", "true"}}).has_value();
  if (!may_make) return "may not make namespaces here";
  return std::nullopt;
}

void introduce(dvk::Endpoint& first, dvk::Endpoint& second) {
  must(first.send(second.address(), dvk::as_bytes("hello"), patience), "introduce: send");
  must(second.receive_from(first.address(), patience), "introduce: receive");
  must(second.send(first.address(), dvk::as_bytes("hello"), patience), "introduce: send back");
  must(first.receive_from(second.address(), patience), "introduce: receive back");
}

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)), network_(options_.nodes) {
  pki({"init", "--dir", authority(), "--cluster", "test"});
  for (int node = 1; node <= options_.nodes; ++node) {
    pki({"issue", "--dir", authority(), "--node", std::to_string(node), "--out",
         certificates(node)});
    write_configuration(node);
    start_daemon(node);
  }
  await_links();
}

Cluster::~Cluster() {
  for (auto& [node, child] : daemons_) {
    if (child.is_running()) stop_daemon(node);
    check_log(node);
  }
}

std::filesystem::path Cluster::run_directory(int node) const {
  return scratch_.path() / ("run" + std::to_string(node));
}
std::filesystem::path Cluster::certificates(int node) const {
  return scratch_.path() / ("certificates" + std::to_string(node));
}
std::filesystem::path Cluster::configuration_file(int node) const {
  return scratch_.path() / ("dvsd" + std::to_string(node) + ".toml");
}
std::string Cluster::socket(int node, const std::string& file) const {
  return run_directory(node) / file;
}

dvk::Endpoint Cluster::open(int node, const std::string& name) const {
  return must(dvk::Endpoint::open({.socket = socket(node), .name = name, .deadline = patience}),
              "open");
}

void Cluster::write_configuration(int node) const {
  const std::string number = std::to_string(node);
  std::ofstream file(configuration_file(node));
  file << "node = " << number << "\n"
       << "state_dir = \"" << (scratch_.path() / ("state" + number)).string() << "\"\n"
       << "run_dir = \"" << run_directory(node).string() << "\"\n"
       << "log_level = \"" << options_.log_level << "\"\n"
       << "listen = \"0.0.0.0:" << link_port << "\"\n"
       << (options_.is_plaintext
               ? "insecure_plaintext = true\n"
               : "[certificate]\ndirectory = \"" + certificates(node).string() + "\"\n")
       << "[timings]\nheartbeat_ms = " << options_.heartbeat.count()
       << "\nsuspect_ms = " << options_.suspect.count()
       << "\ngive_up_ms = " << options_.give_up.count() << "\n";
  if (options_.is_agreed) {
    file << "[consensus]\nfirst = " << (node == 1 ? "true" : "false")
         << "\nlost_after_ms = " << options_.lost_after.count() << "\n";
  }
  for (int peer = 1; peer <= options_.nodes; ++peer) {
    if (peer == node) continue;
    file << "[[peers]]\nid = " << peer << "\naddress = \"" << Network::address(node, peer) << ":"
         << link_port << "\"\n";
  }
  file << replace_all(options_.configuration, "{run}", run_directory(node).string());
}

// --- Daemons -------------------------------------------------------------------------------------

void Cluster::start_daemon(int node) {
  auto child = must(Child::start({.command = {DVSD_PROGRAM, "--config", configuration_file(node)},
                                  .network = network_.namespace_of(node),
                                  .log = scratch_.path() / ("log" + std::to_string(node))}),
                    "start dvsd");
  daemons_.insert_or_assign(node, std::move(child));
}

void Cluster::kill_daemon(int node) {
  daemon(node).kill();
}

void Cluster::stop_daemon(int node) {
  daemon(node).signal(SIGTERM);
  const auto code = daemon(node).wait(stop_patience);
  EXPECT_TRUE(code.has_value()) << "dvsd of node " << node << " did not stop in time\n"
                                << log(node);
  if (code) {
    EXPECT_EQ(*code, 0) << "dvsd of node " << node << "\n" << log(node);
  }
}

std::string Cluster::control(int node, const std::string& command) const {
  const int client = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = socket(node, "control.sock");
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  std::string answer(256 * 1024, 0);
  ssize_t bytes = -1;
  if (connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      write(client, command.data(), command.size()) > 0) {
    bytes = read(client, answer.data(), answer.size());
  }
  close(client);
  answer.resize(bytes < 0 ? 0 : static_cast<std::size_t>(bytes));
  return answer;
}

std::uint64_t Cluster::link_number(int node, int peer, const std::string& key) const {
  const std::string status = control(node, "status");
  const std::regex pattern(R"(\{"node":)" + std::to_string(peer) + R"(,[^}]*")" + key +
                           R"(":(\d+))");
  std::uint64_t sum = 0;
  for (std::sregex_iterator match(status.begin(), status.end(), pattern), end; match != end;
       ++match) {
    sum += std::stoull((*match)[1]);
  }
  return sum;
}

void Cluster::await_links() const {
  const std::regex up(R"("state":"up")");
  const auto expected = static_cast<std::ptrdiff_t>(3 * (options_.nodes - 1));  // three lanes each
  const auto end = std::chrono::steady_clock::now() + patience;
  for (int node = 1; node <= options_.nodes; ++node) {
    while (true) {
      const std::string status = control(node, "status");
      const std::sregex_iterator first(status.begin(), status.end(), up), last;
      if (!status.empty() && std::distance(first, last) == expected) break;
      if (std::chrono::steady_clock::now() > end) {
        throw std::runtime_error("links of node " + std::to_string(node) +
                                 " do not come up: " + status + "\n" + log(node));
      }
      std::this_thread::sleep_for(10ms);
    }
  }
}

std::string Cluster::log(int node) const {
  return read_file(scratch_.path() / ("log" + std::to_string(node)));
}

bool Cluster::await_log(int node, const std::string& text) const {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (log(node).find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(10ms);
  }
  return true;
}

// What must never be in a log: a failed assertion, a sanitizer's report.
void Cluster::check_log(int node) const {
  const std::string text = log(node);
  for (const char* sign : {"Sanitizer", "runtime error:", "assertion", "terminate called"}) {
    EXPECT_EQ(text.find(sign), std::string::npos) << "log of node " << node << ":\n" << text;
  }
  if (testing::Test::HasFailure()) {
    constexpr std::size_t shown = 8000;
    const std::size_t begin = text.size() > shown ? text.size() - shown : 0;
    std::fprintf(stderr, "--- log of node %d (its end) ---\n%s\n", node, text.c_str() + begin);
  }
}

std::string Cluster::daemon_program() {
  return DVSD_PROGRAM;
}

void Cluster::pki(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {DVSD_PROGRAM, "pki"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  must(run({.command = std::move(command)}), "dvsd pki");
}

}  // namespace integration
