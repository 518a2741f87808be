// The nodes a benchmark measures on: real daemons, and for two nodes two network namespaces joined
// by a veth pair. Everything goes when the object goes.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include <dvs/result.hpp>

namespace bench {

using dvs::Result;

class Nodes {
 public:
  // One lone node, no network.
  static Result<Nodes> lone();
  // Two nodes in namespaces of their own; links with TLS, or in plain text. Needs root.
  static Result<Nodes> two(bool is_encrypted);

  Nodes(Nodes&& other) noexcept = default;
  Nodes& operator=(Nodes&&) = delete;
  ~Nodes();

  // The attach socket of node 1 or 2.
  std::string socket(int node) const;
  // As in `ip netns`; empty on a lone node.
  std::string network_namespace(int node) const;
  std::string address(int node) const;
  // Puts the daemon of a node on one processor, or (negative) on all.
  void pin(int node, int processor) const;

 private:
  Nodes() = default;
  Result<void> start(int node, const std::vector<std::string>& arguments);

  std::string directory_;
  std::vector<std::string> namespaces_;
  std::vector<pid_t> daemons_;
};

}  // namespace bench
