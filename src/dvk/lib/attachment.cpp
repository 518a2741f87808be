#include "dvk/lib/attachment.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "runtime/memory.hpp"

namespace dvk::lib {
namespace {

constexpr std::size_t control_bytes_max = 64 * 1024;

dvs::Error explain_connect(const std::string& path, dvs::Error error) {
  error.detail = fmt::format("cannot reach dvsd at {}", path);
  if (error.os_errno == ENOENT || error.os_errno == ECONNREFUSED) {
    error.detail += "; is dvsd running, and is $DVK_SOCKET right?";
  } else if (error.os_errno == EACCES) {
    error.detail += "; this user may not use the socket";
  }
  return error;
}

}  // namespace

Attachment::Attachment(Fd socket, ring::Waiter sleeper, grant::GrantTable table)
    : waiter(std::move(sleeper)),
      grants(std::move(table)),
      socket_(std::move(socket)),
      buffer_(control_bytes_max) {}

Result<Attachment> Attachment::connect(const std::string& socket_path, const wire::Hello& hello) {
  auto socket = dvs::runtime::connect_unix(socket_path);
  if (!socket) return std::unexpected(explain_connect(socket_path, socket.error()));
  DVS_TRY(auto waiter, ring::Waiter::create());
  DVS_TRY(auto grants, grant::GrantTable::create());
  DVS_CHECK(waiter.add(socket->get(), EPOLLIN, token_socket));
  Attachment attachment(std::move(*socket), std::move(waiter), std::move(grants));
  const std::array<int, 2> pages = {attachment.waiter.page_fd(), attachment.grants.page_fd()};
  DVS_CHECK(attachment.send(hello, pages));
  return attachment;
}

Result<void> Attachment::take_welcome(std::vector<Fd>& fds) {
  if (fds.size() < 5) return dvs::fail(Errc::protocol_violation, "welcome without its descriptors");
  DVS_TRY(auto out, ring::Memory::map(fds[0].get()));
  DVS_TRY(auto in, ring::Memory::map(fds[1].get()));
  DVS_TRY(auto waker, ring::Waker::attach(fds[2].get(), std::move(fds[3])));
  DVS_CHECK(waiter.add_bell(std::move(fds[4])));
  to_daemon.emplace(std::move(out));
  from_daemon.emplace(std::move(in));
  daemon_waker.emplace(std::move(waker));
  return {};
}

Result<void> Attachment::send(const wire::ToDaemon& message, std::span<const int> fds) {
  const Bytes bytes = wire::encode_variant(message);
  auto sent = dvs::runtime::send_packet(socket_.get(), bytes, fds);
  if (sent) return {};
  return dvs::fail(Errc::detached, "the daemon closed the connection: " + to_string(sent.error()));
}

Result<std::optional<ControlMessage>> Attachment::receive() {
  auto packet = dvs::runtime::receive_packet(socket_.get(), buffer_, dvs::runtime::Wait::no);
  if (!packet) {
    if (packet.error().code == Errc::would_block) return std::optional<ControlMessage>();
    if (packet.error().code == Errc::peer_died) return dvs::fail(Errc::detached, "dvsd is gone");
    return std::unexpected(packet.error());
  }
  if (packet->bytes == 0) return dvs::fail(Errc::detached, "dvsd closed the connection");
  DVS_TRY(auto message,
          wire::decode_variant<wire::ToProcess>(BytesView(buffer_).subspan(0, packet->bytes)));
  return std::optional(ControlMessage{std::move(message), std::move(packet->fds)});
}

Result<Bytes> read_state(int fd, std::uint64_t bytes) {
  DVS_TRY(const std::size_t size, dvs::runtime::shared_memory_size(fd));
  if (bytes > size) return dvs::fail(Errc::protocol_violation, "moved state is cut short");
  if (bytes == 0) return Bytes();
  DVS_TRY(auto mapping, dvs::runtime::Mapping::map(fd, size, dvs::runtime::Access::read_only));
  return dvs::to_bytes(BytesView(mapping.bytes()).subspan(0, static_cast<std::size_t>(bytes)));
}

Result<Fd> write_state(BytesView state) {
  constexpr std::size_t page = 4096;
  const std::size_t size = std::max(page, (state.size() + page - 1) / page * page);
  DVS_TRY(auto fd, dvs::runtime::create_shared_memory("dvk-state", size));
  DVS_TRY(auto mapping,
          dvs::runtime::Mapping::map(fd.get(), size, dvs::runtime::Access::read_write));
  if (!state.empty()) std::memcpy(mapping.data(), state.data(), state.size());
  return fd;
}

}  // namespace dvk::lib
