// A service that survives the death of its process: tickets, numbered without a gap, each given
// once.
//
// The primary tells its backup of every ticket before it answers. When it dies the backup is
// promoted and goes on under the same name. The client repeats what was not answered; requests
// carry an id, so a repeated one gets the ticket it got before.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <unistd.h>

#include <dvk/endpoint.hpp>

namespace {

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "backup_service: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

class Tickets {
 public:
  explicit Tickets(dvk::Endpoint endpoint) : endpoint_(std::move(endpoint)) {}

  // A backup asks the primary to be told: of all there was so far, and of what comes.
  dvk::Result<void> follow(const std::string& name) {
    DVS_TRY(const auto primary, endpoint_.lookup(name));
    return endpoint_.send(primary, dvk::as_bytes("follow"));
  }

  dvk::Result<void> serve() {
    using Kind = dvk::Incoming::Kind;
    while (true) {
      DVS_TRY(const auto incoming, endpoint_.receive());
      if (incoming.kind == Kind::request) answer(incoming);
      if (incoming.kind == Kind::promoted) announce("primary");
      if (incoming.kind == Kind::peer_end && incoming.from == backup_) backup_.reset();
      if (incoming.kind != Kind::message) continue;
      if (incoming.text() == "follow") {
        backup_ = incoming.from;
        for (const auto& [id, ticket] : given_) tell_backup(id);
      } else {
        given_.emplace(incoming.text(), given_.size() + 1);
      }
    }
  }
  void announce(const char* role) {
    std::printf("%s on node %u\n", role, dvs::raw(endpoint_.node()));
    std::fflush(stdout);
  }

 private:
  void answer(const dvk::Incoming& request) {
    const auto [entry, is_new] = given_.emplace(request.text(), given_.size() + 1);
    if (is_new) tell_backup(entry->first);
    const std::string ticket = std::to_string(entry->second);
    static_cast<void>(endpoint_.reply(request, dvk::as_bytes(ticket)));
  }
  // Returns once the backup's process has it. A backup that is gone needs to know nothing.
  void tell_backup(const std::string& id) {
    if (!backup_) return;
    if (!endpoint_.send(*backup_, dvk::as_bytes(id)) || !endpoint_.flush(*backup_)) backup_.reset();
  }

  dvk::Endpoint endpoint_;
  std::map<std::string, std::size_t> given_;  // request id to ticket
  std::optional<dvk::Address> backup_;
};

dvk::Result<dvk::Bytes> ask(dvk::Endpoint& endpoint, const std::string& name,
                            const std::string& id) {
  const dvk::Deadline patience = std::chrono::seconds(30);
  while (true) {
    const auto server = endpoint.lookup(name, patience);
    auto ticket = server ? endpoint.call(*server, dvk::as_bytes(id), patience)
                         : dvk::Result<dvk::Bytes>(std::unexpected(server.error()));
    if (ticket || ticket.error() == dvk::Errc::deadline) return ticket;
    std::printf("%s: asking again\n", to_string(ticket.error()).c_str());
    usleep(50'000);
  }
}

int ask_for(const std::string& name, int count) {
  auto endpoint = dvk::Endpoint::open();
  if (!endpoint) return give_up("open", endpoint.error());
  for (int number = 0; number < count; ++number, usleep(100'000)) {
    const std::string id = to_string(endpoint->address()) + "/" + std::to_string(number);
    const auto ticket = ask(*endpoint, name, id);
    if (!ticket) return give_up("call", ticket.error());
    std::printf("ticket %.*s\n", static_cast<int>(ticket->size()), dvk::as_text(*ticket).data());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 2 ? argv[1] : "";
  if (mode == "ask" && argc == 4) return ask_for(argv[2], std::atoi(argv[3]));
  if (mode != "serve" && mode != "backup") {
    std::fputs("usage: backup_service serve|backup NAME | backup_service ask NAME COUNT\n", stderr);
    return 2;
  }
  const bool is_backup = mode == "backup";
  auto endpoint = dvk::Endpoint::open({.name = argv[2], .is_backup = is_backup});
  if (!endpoint) return give_up("open", endpoint.error());
  Tickets tickets(*std::move(endpoint));
  if (is_backup) {
    if (auto followed = tickets.follow(argv[2]); !followed)
      return give_up("follow", followed.error());
  }
  tickets.announce(is_backup ? "backup" : "primary");
  return give_up("serve", tickets.serve().error());
}
