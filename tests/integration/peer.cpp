#include "integration/peer.hpp"

#include <sstream>
#include <thread>

namespace integration {

std::string words_of(const dvk::Address& address) {
  std::ostringstream words;
  words << dvs::raw(address.container) << ' ' << dvs::raw(address.id) << ' '
        << dvs::raw(address.incarnation);
  return words.str();
}

dvk::Address await_name(dvk::Endpoint& endpoint, const std::string& name) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (true) {
    auto found = endpoint.lookup(name, patience);
    if (found) return *found;
    if (found.error() != dvk::Errc::unknown_endpoint || std::chrono::steady_clock::now() > end) {
      throw std::runtime_error("lookup of " + name + ": " + to_string(found.error()));
    }
    std::this_thread::sleep_for(5ms);
  }
}

Child Peer::start(const std::string& socket, std::vector<std::string> role, uid_t uid,
                  const std::filesystem::path& log) {
  role.insert(role.begin(), PEER_PROGRAM);
  return must(Child::start({.command = std::move(role),
                            .environment = {"DVK_SOCKET=" + socket},
                            .uid = uid,
                            .log = log}),
              "start a peer");
}

Peer::Peer(Cluster& cluster, int node, const std::string& name, uid_t uid)
    : commander_(cluster.open(node)),
      process_(start(cluster.socket(node), {"obey", name}, uid)),
      address_(await_name(commander_, name)) {}

std::string Peer::ask(const std::string& command) {
  return finish(start(command));
}

dvk::CallId Peer::start(const std::string& command) {
  return must(commander_.start_call(address_, dvk::as_bytes(command)), command.c_str());
}

std::string Peer::finish(dvk::CallId call) {
  const auto answer = commander_.finish_call(call, 2 * patience);
  return std::string(answer ? dvk::as_text(*answer) : name_of(answer.error().code));
}

std::uint64_t Peer::ask_number(const std::string& command) {
  const std::string answer = ask(command);
  if (answer.empty() || answer.find_first_not_of("0123456789") != std::string::npos) {
    throw std::runtime_error(command + " was answered by \"" + answer + "\"");
  }
  return std::stoull(answer);
}

}  // namespace integration
