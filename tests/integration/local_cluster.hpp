// Clusters made by `dvs cluster up --local`, as a user makes them, and what they leave behind.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "integration/child.hpp"

namespace integration {

// Begins this program again where nothing that it makes is seen by, or outlives it for, anybody
// else: with networks, mounts and processes of its own. Returns where that is so already, or cannot
// be: then tests are skipped.
void isolate(int argc, char** argv);
// Why tests of local clusters cannot run; empty if they can.
std::string reason_to_skip_local();

struct Outcome {
  int exit_code = -1;
  std::string output;  // and errors
};

// All there is of namespaces, links, mounts, processes and files that a cluster could leave behind.
std::string traces();

// A local cluster of a name of its own, taken away with the object. Several may be made.
class LocalCluster {
 public:
  explicit LocalCluster(std::string name = "test");
  ~LocalCluster();
  LocalCluster(const LocalCluster&) = delete;
  LocalCluster& operator=(const LocalCluster&) = delete;

  // Runs `dvs` with these words, separated by blanks, to its end.
  Outcome dvs(const std::string& words) const;
  // The same, which must succeed; what it prints.
  std::string must(const std::string& words) const;
  boost::json::value json(const std::string& words) const;
  // A `dvs` that runs meanwhile.
  Child start(const std::string& words, const std::filesystem::path& log = {}) const;

  // What n1, or another node, believes of a node: "up", "suspect" ...
  std::string state(int node, const std::string& asked = "n1") const;
  bool await_state(int node, bool is_up, const std::string& asked = "n1") const;
  // "running", "paused", "dead".
  std::string daemon_state(int node) const;

  std::filesystem::path record() const;
  std::filesystem::path directory() const;
  std::string socket(int node) const;

 private:
  std::string name_;
};

// Runs any program to its end.
Outcome run_program(std::vector<std::string> command, std::vector<std::string> environment = {},
                    uid_t uid = 0);

}  // namespace integration
