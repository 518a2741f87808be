// Ping-pong: one endpoint answers under a name, another one calls it, wherever the two run.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <dvk/endpoint.hpp>

namespace {

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "ping_pong: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

int serve(const std::string& name) {
  auto endpoint = dvk::Endpoint::open({.name = name});
  if (!endpoint) return give_up("open", endpoint.error());
  std::printf("serving \"%s\" on node %u\n", name.c_str(), dvs::raw(endpoint->node()));
  std::fflush(stdout);
  while (true) {
    const auto request = endpoint->receive_request();
    if (!request) return give_up("receive_request", request.error());
    const std::string answer = "pong " + std::string(request->text());
    if (auto replied = endpoint->reply(*request, dvk::as_bytes(answer)); !replied) {
      return give_up("reply", replied.error());
    }
  }
}

int call(const std::string& name, int count) {
  auto endpoint = dvk::Endpoint::open();
  if (!endpoint) return give_up("open", endpoint.error());
  const auto server = endpoint->lookup(name);
  if (!server) return give_up("lookup", server.error());
  for (int number = 1; number <= count; ++number) {
    const std::string ping = std::to_string(number);
    const auto reply = endpoint->call(*server, dvk::as_bytes(ping), std::chrono::seconds(5));
    if (!reply) return give_up("call", reply.error());
    std::printf("node %u: ping %s -> %.*s\n", dvs::raw(endpoint->node()), ping.c_str(),
                static_cast<int>(reply->size()), dvk::as_text(*reply).data());
  }
  return 0;
}

int usage() {
  std::fputs(
      "usage: ping_pong serve NAME          answer calls until interrupted\n"
      "       ping_pong call NAME [COUNT]   call NAME, once or COUNT times\n"
      "The node is that of the daemon whose socket $DVK_SOCKET names.\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
      stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "serve" && argc == 3) return serve(argv[2]);
  if (mode != "call" || argc < 3 || argc > 4) return usage();
  const int count = argc == 4 ? std::atoi(argv[3]) : 1;
  return count > 0 ? call(argv[2], count) : usage();
}
