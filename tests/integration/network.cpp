#include "integration/network.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "integration/child.hpp"

namespace integration {
namespace {

int create_namespace() {
  int descriptor = -1;
  // Only the thread that asks gets the new namespace.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) == 0)
      descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  }).join();
  if (descriptor < 0) throw std::runtime_error("cannot make a network namespace");
  return descriptor;
}

// The interface of a node towards another one.
std::string interface(int to) {
  return "to" + std::to_string(to);
}

std::string address_text(int first, int second, int node) {
  return "10." + std::to_string(std::min(first, second)) + "." +
         std::to_string(std::max(first, second)) + "." + std::to_string(node);
}

}  // namespace

Network::Network(int nodes) {
  for (int node = 1; node <= nodes; ++node) {
    namespaces_[node] = create_namespace();
    ip(node, {"link", "set", "lo", "up"});
  }
  for (int first = 1; first <= nodes; ++first) {
    for (int second = first + 1; second <= nodes; ++second) {
      const std::string far =
          "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(namespaces_.at(second));
      ip(first, {"link", "add", interface(second), "type", "veth", "peer", "name", interface(first),
                 "netns", far});
      for (const auto& [node, other] : {std::pair(first, second), std::pair(second, first)}) {
        ip(node,
           {"addr", "add", address_text(first, second, node) + "/24", "dev", interface(other)});
        ip(node, {"link", "set", interface(other), "up"});
      }
    }
  }
}

Network::~Network() {
  for (const auto& [node, descriptor] : namespaces_) close(descriptor);
}

std::string Network::address(int from, int to) {
  return address_text(from, to, to);
}

void Network::set_cable(int first, int second, bool is_plugged) {
  ip(first, {"link", "set", interface(second), is_plugged ? "up" : "down"});
}

void Network::set_silence(int from, int to, bool is_silent) {
  // An address of the wire's level that nobody has.
  const std::string peer = address(from, to);
  if (is_silent) {
    ip(from, {"neigh", "replace", peer, "lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev",
              interface(to)});
  } else {
    ip(from, {"neigh", "del", peer, "dev", interface(to)});
  }
}

bool Network::set_loss(int from, int to, int percent) {
  return run({.command = {"tc", "qdisc", "replace", "dev", interface(to), "root", "netem", "loss",
                          std::to_string(percent) + "%"},
              .network = namespaces_.at(from)})
      .has_value();
}

void Network::ip(int node, std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), "ip");
  const auto done = run({.command = std::move(arguments), .network = namespaces_.at(node)});
  if (!done) throw std::runtime_error(done.error().detail);
}

}  // namespace integration
