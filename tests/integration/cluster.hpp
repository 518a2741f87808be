// Two or three nodes as a user would have them: a real dvsd each, in its own network namespace,
// with its own state, joined by TLS links with certificates of one authority.
//
// Everything that goes wrong in the harness itself ends the test by an exception. The destructor
// stops the daemons as an operator would and fails the test if one does not stop cleanly.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <dvk/endpoint.hpp>

#include "integration/child.hpp"
#include "integration/network.hpp"
#include "integration/scratch.hpp"

namespace integration {

using namespace std::chrono_literals;

// How long anything may take before a test calls it lost. Far above what it takes even on a busy
// machine.
constexpr auto patience = 30s;

// The value, or the end of the test.
template <class T>
T must(dvs::Result<T> result, const char* what = "") {
  if (!result) throw std::runtime_error(std::string(what) + ": " + to_string(result.error()));
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// Lets two endpoints find each other. One is only served while it is used; where one thread uses
// both, what the first begins would else not be on its way when the second one waits for it.
void introduce(dvk::Endpoint& first, dvk::Endpoint& second);

// Why this machine or user cannot run clusters; nothing if it can.
std::optional<std::string> reason_to_skip();

struct ClusterOptions {
  int nodes = 2;
  std::chrono::milliseconds heartbeat = 100ms;
  std::chrono::milliseconds suspect = 500ms;
  std::chrono::milliseconds give_up = 10s;
  // Lines of configuration for every node: containers with their rules. `{run}` stands for the run
  // directory.
  std::string configuration{};
  std::string log_level = "info";
  bool is_plaintext = false;  // links without TLS
  // The nodes agree on who is a member, and node 1 begins.
  bool is_agreed = false;
  std::chrono::milliseconds lost_after = 2s;
};

class Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  int size() const { return options_.nodes; }
  Network& network() { return network_; }
  std::filesystem::path directory() const { return scratch_.path(); }
  std::filesystem::path run_directory(int node) const;
  std::string socket(int node, const std::string& file = "dvk.sock") const;

  // An endpoint of this process on that node. Safe from any thread.
  dvk::Endpoint open(int node, const std::string& name = {}) const;

  // --- Daemons ---
  Child& daemon(int node) { return daemons_.at(node); }
  void start_daemon(int node);
  void kill_daemon(int node);
  // SIGTERM; fails the test if the daemon takes longer than a second (under a sanitizer: ten).
  void stop_daemon(int node);
  // One line to the control socket; the answer is JSON.
  std::string control(int node, const std::string& command) const;
  // A number of the status of the links from `node` to `peer`, summed over their lanes.
  std::uint64_t link_number(int node, int peer, const std::string& key) const;
  // Waits until every daemon says that all its links are up.
  void await_links() const;
  // Everything a daemon logged so far.
  std::string log(int node) const;
  // Waits until it has logged this text.
  bool await_log(int node, const std::string& text) const;

  // --- For tests of bad input ---
  static std::string daemon_program();
  // Runs `dvsd pki ...`.
  void pki(const std::vector<std::string>& arguments) const;
  std::filesystem::path authority() const { return scratch_.path() / "authority"; }
  std::filesystem::path certificates(int node) const;
  std::filesystem::path configuration_file(int node) const;

 private:
  void write_configuration(int node) const;
  void check_log(int node) const;

  ClusterOptions options_;
  ScratchDirectory scratch_;
  Network network_;
  std::map<int, Child> daemons_;
};

}  // namespace integration
