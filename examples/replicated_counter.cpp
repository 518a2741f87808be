// A counter that several members hold together: every change goes through a totally ordered group,
// so all members agree on every value, and a client may ask any of them.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dvk/group.hpp>

namespace {

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "replicated_counter: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

class Member {
 public:
  explicit Member(dvk::Group group) : group_(std::move(group)) {}

  dvk::Result<void> serve() {
    while (true) {
      auto event = group_.next();
      if (!event) return std::unexpected(event.error());
      if (const auto* message = std::get_if<dvk::GroupMessage>(&*event)) {
        apply(*message);
      } else if (const auto* incoming = std::get_if<dvk::Incoming>(&*event)) {
        take(*incoming);
      }
    }
  }

 private:
  // A client's request becomes a message of the group; it is answered when that is delivered here,
  // between the same two others as everywhere.
  void take(const dvk::Incoming& incoming) {
    if (incoming.kind != dvk::Incoming::Kind::request) return;
    const auto number = group_.multicast(incoming.payload);
    if (number) {
      asked_[*number] = {.from = incoming.from, .call = incoming.call};
    } else {
      static_cast<void>(group_.endpoint().reply(incoming, dvk::as_bytes("busy, try again")));
    }
  }
  void apply(const dvk::GroupMessage& message) {
    total_ += std::strtoll(std::string(message.text()).c_str(), nullptr, 10);
    if (message.sender != group_.endpoint().address()) return;
    const std::string answer = std::to_string(total_);
    static_cast<void>(group_.endpoint().reply(asked_[message.number], dvk::as_bytes(answer)));
    asked_.erase(message.number);
  }

  dvk::Group group_;
  long long total_ = 0;
  std::map<std::uint64_t, dvk::Request> asked_;  // by the number of our multicast
};

int serve(const std::string& own_name, const std::vector<std::string>& names) {
  auto endpoint = dvk::Endpoint::open({.name = own_name});
  if (!endpoint) return give_up("open", endpoint.error());
  const auto view = dvk::Group::static_view(*endpoint, names);
  if (!view) return give_up("find the members", view.error());
  dvk::Group group(*std::move(endpoint));
  if (auto installed = group.install(*view); !installed)
    return give_up("install", installed.error());
  std::printf("serving \"%s\" on node %u\n", own_name.c_str(), dvs::raw(group.endpoint().node()));
  std::fflush(stdout);
  return give_up("serve", Member(std::move(group)).serve().error());
}

int add(const std::string& member, const std::string& amount) {
  auto endpoint = dvk::Endpoint::open();
  if (!endpoint) return give_up("open", endpoint.error());
  const auto address = endpoint->lookup(member);
  if (!address) return give_up("lookup", address.error());
  const auto total = endpoint->call(*address, dvk::as_bytes(amount), std::chrono::seconds(10));
  if (!total) return give_up("call", total.error());
  std::printf("%.*s\n", static_cast<int>(total->size()), dvk::as_text(*total).data());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "member" && argc > 3) return serve(argv[2], {argv + 3, argv + argc});
  if (mode == "add" && argc == 4) return add(argv[2], argv[3]);
  std::fputs(
      "usage: replicated_counter member NAME ALL_NAMES...   serve as NAME, one of ALL_NAMES\n"
      "       replicated_counter add NAME AMOUNT            ask member NAME; 0 reads\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
      stderr);
  return 2;
}
