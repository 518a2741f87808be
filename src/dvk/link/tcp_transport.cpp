// See tcp_transport.hpp.
#include "dvk/link/tcp_transport.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "dvk/link/plain_connection.hpp"

namespace dvk::link {

namespace asio = boost::asio;
using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::TimePoint;
using dvs::runtime::Fd;

namespace {

// Before accepting again when the process or the system has no descriptor or memory left.
constexpr dvs::Duration shortage_pause = std::chrono::milliseconds(100);

TimePoint handshake_deadline() {
  return std::chrono::steady_clock::now() + handshake_time;
}

bool is_shortage(int code) {
  return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

Result<void> send_preface(Socket& socket, ConnectionKind kind, dvs::BytesView rest = {}) {
  Preface preface;
  preface.kind = kind;
  std::array<std::byte, sizeof(Preface) + sizeof(ExpressToken)> bytes{};
  std::memcpy(bytes.data(), &preface, sizeof preface);
  if (!rest.empty()) std::memcpy(bytes.data() + sizeof preface, rest.data(), rest.size());
  return socket.send_first(dvs::BytesView(bytes).first(sizeof preface + rest.size()));
}

}  // namespace

TcpTransport::TcpTransport(asio::io_context& io, std::optional<TlsContext> credentials)
    : io_(io), credentials_(std::move(credentials)) {}

Result<std::uint16_t> TcpTransport::listen(const std::string& host, std::uint16_t port) {
  DVS_TRY(Fd fd, listen_tcp(host, port));
  listener_.emplace(io_, std::move(fd));
  return port_of(listener_->fd());
}

asio::awaitable<Result<Fd>> TcpTransport::accept() {
  if (!listener_) co_return fail(Errc::invalid_argument, "not listening");
  for (;;) {
    Fd fd(::accept4(listener_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) co_return std::move(fd);
    if (is_shortage(errno)) {
      asio::steady_timer pause(io_, shortage_pause);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    } else if (errno == EAGAIN) {
      const auto waited = co_await listener_->wait_readable();
      if (!waited) co_return std::unexpected(waited.error());
    } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
      co_return fail_os("accept");
    }
    // Any other error is that of the connection that was to be accepted.
  }
}

asio::awaitable<Result<Incoming>> TcpTransport::receive(Fd fd) {
  const TimePoint deadline = handshake_deadline();
  Socket socket(io_, std::move(fd));
  std::array<std::byte, sizeof(Preface)> preface;
  if (auto read = co_await socket.read_exactly(preface, deadline); !read) {
    co_return std::unexpected(std::move(read).error());
  }
  const auto kind = decode_preface(preface);
  if (!kind) co_return std::unexpected(kind.error());
  set_link_options(socket.fd());
  if (*kind == ConnectionKind::link) {
    auto connection = co_await secure(std::move(socket), TlsRole::server, deadline);
    if (!connection) co_return std::unexpected(std::move(connection).error());
    co_return Incoming(std::move(*connection));
  }
  ExpressConnection express;
  if (auto read = co_await socket.read_exactly(express.token, deadline); !read) {
    co_return std::unexpected(std::move(read).error());
  }
  express.socket = socket.release();
  co_return Incoming(std::move(express));
}

asio::awaitable<Result<std::unique_ptr<Connection>>> TcpTransport::connect(PeerAddress peer) {
  const TimePoint deadline = handshake_deadline();
  auto socket = co_await dial_tcp(io_, std::move(peer), deadline);
  if (!socket) co_return std::unexpected(std::move(socket).error());
  if (auto sent = send_preface(*socket, ConnectionKind::link); !sent) {
    co_return std::unexpected(std::move(sent).error());
  }
  co_return co_await secure(*std::move(socket), TlsRole::client, deadline);
}

asio::awaitable<Result<Fd>> TcpTransport::connect_express(PeerAddress peer, ExpressToken token) {
  auto socket = co_await dial_tcp(io_, std::move(peer), handshake_deadline());
  if (!socket) co_return std::unexpected(std::move(socket).error());
  if (auto sent = send_preface(*socket, ConnectionKind::express, token); !sent) {
    co_return std::unexpected(std::move(sent).error());
  }
  co_return socket->release();
}

asio::awaitable<Result<std::unique_ptr<Connection>>> TcpTransport::secure(Socket socket,
                                                                          TlsRole role,
                                                                          TimePoint deadline) {
  if (!credentials_) co_return std::make_unique<PlainConnection>(std::move(socket));
  auto connection = std::make_unique<TlsConnection>(std::move(socket), *credentials_, role);
  auto shaken = co_await connection->handshake(deadline);
  if (!shaken) co_return std::unexpected(std::move(shaken).error());
  co_return std::move(connection);
}

}  // namespace dvk::link
