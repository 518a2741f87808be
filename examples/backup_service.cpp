// A service that survives the death of its process: tickets, numbered without a gap, each given
// once.
//
// The primary tells its backup of every ticket before it answers. When it dies, the backup is
// promoted and goes on under the same name. The client repeats what was not answered; requests
// carry an id, so a repeated one gets the ticket it got before.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <dvk/endpoint.hpp>

namespace {

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "backup_service: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

dvk::Result<void> serve(dvk::Endpoint& endpoint, bool is_backup) {
  using Kind = dvk::Incoming::Kind;
  std::vector<std::string> given;  // request ids; the first has ticket 1
  dvk::Address backup;
  // Returns once the backup's process has it. A backup that is gone needs to know nothing.
  const auto tell_backup = [&](const std::string& id) {
    if (backup && !(endpoint.send(backup, dvk::as_bytes(id)) && endpoint.flush(backup)))
      backup = {};
  };
  std::printf("%s on node %u\n", is_backup ? "backup" : "primary", dvs::raw(endpoint.node()));
  while (true) {
    DVS_TRY(const auto incoming, endpoint.receive());
    if (incoming.kind == Kind::request) {
      auto place = std::ranges::find(given, incoming.text());
      if (place == given.end()) {
        place = given.emplace(place, incoming.text());
        tell_backup(given.back());
      }
      const std::string ticket = std::to_string(place - given.begin() + 1);
      DVS_CHECK(endpoint.reply(incoming, dvk::as_bytes(ticket)));
    } else if (incoming.kind == Kind::message && incoming.text() == "follow") {
      backup = incoming.from;
      for (const std::string& id : given) tell_backup(id);
    } else if (incoming.kind == Kind::message) {
      given.emplace_back(incoming.text());
    } else if (incoming.kind == Kind::promoted) {
      std::printf("promoted to primary on node %u\n", dvs::raw(endpoint.node()));
    }
  }
}

dvk::Result<dvk::Bytes> ask(dvk::Endpoint& endpoint, const std::string& name,
                            const std::string& id) {
  for (const dvk::Deadline patience = std::chrono::seconds(30);;) {
    const auto server = endpoint.lookup(name, patience);
    auto ticket = server ? endpoint.call(*server, dvk::as_bytes(id), patience)
                         : dvk::Result<dvk::Bytes>(std::unexpected(server.error()));
    if (ticket || ticket.error() == dvk::Errc::deadline) return ticket;
    std::printf("%s: asking again\n", to_string(ticket.error()).c_str());
    usleep(50'000);
  }
}

int ask_for(dvk::Endpoint& endpoint, const std::string& name, int count) {
  for (int number = 0; number < count; ++number, usleep(100'000)) {
    const std::string id = to_string(endpoint.address()) + "/" + std::to_string(number);
    const auto ticket = ask(endpoint, name, id);
    if (!ticket) return give_up("call", ticket.error());
    std::printf("ticket %.*s\n", static_cast<int>(ticket->size()), dvk::as_text(*ticket).data());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 2 ? argv[1] : "";
  if (mode != "serve" && mode != "backup" && mode != "ask") {
    std::fputs("usage: backup_service serve|backup NAME | ask NAME [COUNT]\n", stderr);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool is_backup = mode == "backup";
  const std::string name = argv[2];
  auto endpoint = dvk::Endpoint::open({.name = mode == "ask" ? "" : name, .is_backup = is_backup});
  if (!endpoint) return give_up("open", endpoint.error());
  if (mode == "ask") return ask_for(*endpoint, name, argc > 3 ? std::atoi(argv[3]) : 1);
  if (is_backup) {  // asks to be told: of all there was so far, and of what comes
    const auto primary = endpoint->lookup(name);
    if (!primary) return give_up("lookup", primary.error());
    auto followed = endpoint->send(*primary, dvk::as_bytes("follow"));
    if (!followed) return give_up("follow", followed.error());
  }
  return give_up("serve", serve(*endpoint, is_backup).error());
}
