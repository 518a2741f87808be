// A network of its own for every node of a test, each two joined by a cable (a veth pair).
//
// The namespaces have no names, so nothing of them is left when the test is gone, whatever ends it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace integration {

class Network {
 public:
  // Nodes are numbered from 1. Ends the test when something cannot be set up.
  explicit Network(int nodes);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  int namespace_of(int node) const { return namespaces_.at(node); }
  // Where `to` is reached from `from`.
  static std::string address(int from, int to);

  // Unplugs the cable between two nodes, or plugs it in again.
  void set_cable(int first, int second, bool is_plugged);
  // Lets everything that `from` sends to `to` vanish, while the way back stays open.
  void set_silence(int from, int to, bool is_silent);
  // Lets a share of all packets from `from` to `to` vanish. False: the kernel cannot.
  bool set_loss(int from, int to, int percent);

 private:
  void ip(int node, std::vector<std::string> arguments) const;

  std::map<int, int> namespaces_;  // descriptors
};

}  // namespace integration
