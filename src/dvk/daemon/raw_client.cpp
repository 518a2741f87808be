// See raw_client.hpp.
#include "dvk/daemon/raw_client.hpp"

#include <poll.h>

#include "runtime/unix_socket.hpp"

namespace dvk::daemon::test {

using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::fail;
using dvs::Result;

Result<RawClient> RawClient::connect(const std::string& path) {
  DVS_TRY(auto socket, dvs::runtime::connect_unix(path));
  DVS_TRY(auto waiter, ring::Waiter::create());
  DVS_TRY(auto grants, grant::GrantTable::create());
  return RawClient(std::move(socket), std::move(waiter), std::move(grants));
}

Result<RawClient> RawClient::attach(const std::string& path, const wire::Hello& hello) {
  DVS_TRY(RawClient client, connect(path));
  DVS_CHECK(client.say_hello(hello));
  DVS_CHECK(client.take_welcome());
  return client;
}

Result<void> RawClient::say(const wire::ToDaemon& message, std::vector<int> fds) {
  return say_bytes(wire::encode_variant(message), std::move(fds));
}

Result<void> RawClient::say_bytes(BytesView bytes, std::vector<int> fds) {
  return dvs::runtime::send_packet(socket.get(), bytes, fds);
}

Result<void> RawClient::say_hello(const wire::Hello& hello) {
  return say(hello, {waiter.page_fd(), grants.page_fd()});
}

Result<ControlMessage> RawClient::hear() {
  pollfd item{socket.get(), POLLIN, 0};
  const auto milliseconds = std::chrono::milliseconds(patience).count();
  if (::poll(&item, 1, static_cast<int>(milliseconds)) <= 0) return fail(Errc::deadline);
  Bytes buffer(64 * 1024);
  auto packet = dvs::runtime::receive_packet(socket.get(), buffer);
  if (!packet) return fail(Errc::detached, dvs::to_string(packet.error()));
  if (packet->bytes == 0) return fail(Errc::detached, "closed");
  DVS_TRY(auto message,
          wire::decode_variant<wire::ToProcess>(BytesView(buffer).first(packet->bytes)));
  return ControlMessage{std::move(message), std::move(packet->fds)};
}

Result<void> RawClient::take_welcome() {
  DVS_TRY(ControlMessage first, hear());
  if (const auto* refused = std::get_if<wire::Refused>(&first.message)) {
    return fail(refused->error, refused->detail);
  }
  const auto* welcome = std::get_if<wire::Welcome>(&first.message);
  if (welcome == nullptr || first.fds.size() < 5)
    return fail(Errc::protocol_violation, "no welcome");
  DVS_TRY(auto out, ring::Memory::map(first.fds[0].get()));
  DVS_TRY(auto in, ring::Memory::map(first.fds[1].get()));
  DVS_TRY(auto to_daemon, ring::Waker::attach(first.fds[2].get(), std::move(first.fds[3])));
  DVS_CHECK(waiter.add_bell(std::move(first.fds[4])));
  address = welcome->address;
  producer.emplace(std::move(out));
  consumer.emplace(std::move(in));
  waker.emplace(std::move(to_daemon));
  return {};
}

bool RawClient::is_closed() {
  for (;;) {
    const auto message = hear();
    if (!message) return message.error() == Errc::detached;
  }
}

Result<void> RawClient::send(wire::PacketHeader header, BytesView payload) {
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  return send_bytes(wire::encode_packet(header, payload));
}

Result<void> RawClient::send_bytes(BytesView record) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    DVS_TRY(const bool is_pushed, producer->try_push(record));
    if (is_pushed) break;
    (void)waiter.wait([&] { return producer->has_room_now(); },
                      std::chrono::steady_clock::now() + std::chrono::milliseconds(5));
    if (std::chrono::steady_clock::now() > deadline) return fail(Errc::deadline);
  }
  waker->wake();
  return {};
}

Result<std::pair<wire::PacketHeader, Bytes>> RawClient::receive() {
  Bytes record;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    DVS_TRY(const bool has_one, consumer->pop_copy(record));
    if (consumer->take_room_released()) waker->wake();
    if (has_one) break;
    DVS_TRY(const auto outcome, waiter.wait([&] { return consumer->is_ready(); }, deadline));
    if (outcome == ring::Waiter::Outcome::deadline) return fail(Errc::deadline);
  }
  DVS_TRY(const wire::Packet packet, wire::decode_packet(record));
  return std::pair(packet.header, dvs::to_bytes(packet.payload));
}

Result<wire::Route> RawClient::route_to(const dvs::Address& peer, wire::RouteKind kind) {
  DVS_CHECK(say(wire::RouteQuery{peer}));
  for (;;) {
    DVS_TRY(const auto route, hear_one<wire::Route>());
    if (route.peer != peer) continue;
    if (route.kind == kind) return route;
    if (route.kind == wire::RouteKind::gone) return fail(route.error, "gone");
  }
}

wire::PacketHeader message_header(const dvs::Address& from, const dvs::Address& to,
                                  std::uint64_t sequence, std::size_t payload_bytes) {
  wire::PacketHeader header;
  header.kind = wire::PacketKind::message;
  header.epoch = 1;
  header.set_source(from);
  header.set_target(to);
  header.sequence = sequence;
  header.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  return header;
}

}  // namespace dvk::daemon::test
