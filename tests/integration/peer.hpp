// An endpoint in a process of its own, which a test commands by calls: to be killed, or to be
// another user.
#pragma once

#include <string>

#include <dvk/endpoint.hpp>

#include "integration/child.hpp"
#include "integration/cluster.hpp"

namespace integration {

// "1 2 3", as the peer's commands want addresses.
std::string words_of(const dvk::Address& address);

class Peer {
 public:
  // Starts a process of that user which opens an endpoint on the node, bound to `name`, and obeys
  // the requests that come to it. They are texts; peer_program.cpp lists them.
  Peer(Cluster& cluster, int node, const std::string& name, uid_t uid = 0);
  // One whose main work is given by its command line; see peer_program.cpp.
  static Child start(const std::string& socket, std::vector<std::string> role, uid_t uid = 0,
                     const std::filesystem::path& log = {});

  const dvk::Address& address() const { return address_; }
  Child& process() { return process_; }
  // Asks it, over an endpoint of the test's own on the same node. What it answers, "ok" or a value,
  // or the name of an error.
  std::string ask(const std::string& command);
  // The number in the answer; ends the test if it is none.
  std::uint64_t ask_number(const std::string& command);
  // Begins a command without waiting for its answer.
  dvk::CallId start(const std::string& command);
  std::string finish(dvk::CallId call);
  dvk::Endpoint& commander() { return commander_; }

 private:
  dvk::Endpoint commander_;
  Child process_;
  dvk::Address address_;
};

// Waits until somebody holds the name.
dvk::Address await_name(dvk::Endpoint& endpoint, const std::string& name);

}  // namespace integration
