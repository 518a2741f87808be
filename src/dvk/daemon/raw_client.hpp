// For tests: a process's side of the attach protocol, by hand, without the library. It does exactly
// what it is told, right or wrong.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "dvk/grant/grant_table.hpp"
#include "dvk/ring/ring.hpp"
#include "dvk/ring/waiter.hpp"
#include "dvk/wire/attach_message.hpp"
#include "runtime/fd.hpp"

namespace dvk::daemon::test {

// Generous: only a failing test waits so long.
constexpr std::chrono::seconds patience{20};

struct ControlMessage {
  wire::ToProcess message;
  std::vector<dvs::runtime::Fd> fds;
};

class RawClient {
 public:
  // Connects and prepares doorbell and grant table; says nothing yet.
  static dvs::Result<RawClient> connect(const std::string& path);
  // Connects, says hello, takes the welcome. Error: as Refused says, or detached.
  static dvs::Result<RawClient> attach(const std::string& path, const wire::Hello& hello = {});

  dvs::Result<void> say(const wire::ToDaemon& message, std::vector<int> fds = {});
  dvs::Result<void> say_bytes(dvs::BytesView bytes, std::vector<int> fds = {});
  dvs::Result<void> say_hello(const wire::Hello& hello = {});
  // The next control message. Errors: detached (closed by the daemon), deadline.
  dvs::Result<ControlMessage> hear();
  // The next of that kind; others are dropped.
  template <class Message>
  dvs::Result<Message> hear_one() {
    for (;;) {
      DVS_TRY(ControlMessage next, hear());
      if (auto* wanted = std::get_if<Message>(&next.message)) return *wanted;
    }
  }
  dvs::Result<void> take_welcome();
  // True: the daemon closed the connection.
  bool is_closed();

  // Puts a packet into the ring to the daemon; waits for room.
  dvs::Result<void> send(wire::PacketHeader header, dvs::BytesView payload);
  dvs::Result<void> send_bytes(dvs::BytesView record);
  // The next packet from the daemon.
  dvs::Result<std::pair<wire::PacketHeader, dvs::Bytes>> receive();

  // Sends RouteQuery until the route is the wanted kind. Error: as Route says.
  dvs::Result<wire::Route> route_to(const dvs::Address& peer, wire::RouteKind kind);

  dvs::Address address;
  grant::GrantTable grants;
  dvs::runtime::Fd socket;
  ring::Waiter waiter;
  std::optional<ring::RingProducer> producer;
  std::optional<ring::RingConsumer> consumer;
  std::optional<ring::Waker> waker;

 private:
  RawClient(dvs::runtime::Fd fd, ring::Waiter sleeper, grant::GrantTable table)
      : grants(std::move(table)), socket(std::move(fd)), waiter(std::move(sleeper)) {}
};

// A message packet from `from` to `to`.
wire::PacketHeader message_header(const dvs::Address& from, const dvs::Address& to,
                                  std::uint64_t sequence, std::size_t payload_bytes);

}  // namespace dvk::daemon::test
