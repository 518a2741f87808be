// See socket.hpp.
#include "dvk/link/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <fmt/format.h>

namespace dvk::link {

namespace asio = boost::asio;
using asio::ip::tcp;
using dvs::BytesView;
using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::TimePoint;
using dvs::runtime::Fd;

namespace {

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);
constexpr int unsent_bytes_max = 128 * 1024;
constexpr int backlog = 128;

// Calls `cancel` when the time has come, unless it is gone by then.
class Deadline {
 public:
  Deadline(asio::io_context& io, TimePoint when, std::function<void()> cancel)
      : state_(std::make_shared<State>(std::move(cancel))), timer_(io, when) {
    // Shared, as the handler may be under way already when the deadline goes.
    timer_.async_wait([state = state_](const boost::system::error_code& error) {
      if (error || !state->cancel) return;
      state->is_past = true;
      state->cancel();
    });
  }
  ~Deadline() { state_->cancel = nullptr; }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool is_past() const { return state_->is_past; }

 private:
  struct State {
    explicit State(std::function<void()> c) : cancel(std::move(c)) {}
    std::function<void()> cancel;
    bool is_past = false;
  };
  std::shared_ptr<State> state_;
  asio::steady_timer timer_;
};

std::string text_of(const PeerAddress& peer) {
  return fmt::format("node {} at {}:{}", dvs::raw(peer.id), peer.host, peer.port);
}

asio::awaitable<Result<std::vector<tcp::endpoint>>> resolve(asio::io_context& io,
                                                            const PeerAddress& peer,
                                                            TimePoint deadline) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(peer.host, error);
  if (!error) co_return std::vector{tcp::endpoint(address, peer.port)};
  tcp::resolver resolver(io);
  const Deadline limit(io, deadline, [&resolver] { resolver.cancel(); });
  const auto [code, found] =
      co_await resolver.async_resolve(peer.host, std::to_string(peer.port), as_result);
  if (limit.is_past()) co_return fail(Errc::deadline, "looking up the name of " + text_of(peer));
  if (code == asio::error::operation_aborted) co_return fail(Errc::cancelled);
  std::vector<tcp::endpoint> endpoints;
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  if (endpoints.empty()) {
    co_return fail(Errc::unreachable, "no address for " + text_of(peer) + ": " + code.message());
  }
  co_return endpoints;
}

// EINPROGRESS and its outcome.
asio::awaitable<Result<Socket>> connect_to(asio::io_context& io, tcp::endpoint endpoint,
                                           TimePoint deadline) {
  Fd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) co_return fail_os("socket");
  Socket socket(io, std::move(fd));
  const int started =
      ::connect(socket.fd(), endpoint.data(), static_cast<socklen_t>(endpoint.size()));
  if (started < 0 && errno != EINPROGRESS) co_return fail_os("connect");
  if (started < 0) {
    const auto waited = co_await socket.wait_writable(deadline);
    if (!waited) co_return std::unexpected(waited.error());
    int code = 0;
    socklen_t size = sizeof code;
    if (::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &code, &size) < 0) {
      co_return fail_os("getsockopt");
    }
    if (code != 0) co_return fail_os("connect", code);
  }
  set_link_options(socket.fd());
  co_return std::move(socket);
}

}  // namespace

Result<ConnectionKind> decode_preface(std::span<const std::byte, sizeof(Preface)> bytes) {
  const Preface expected;
  Preface preface;
  std::memcpy(&preface, bytes.data(), sizeof preface);
  if (std::memcmp(preface.magic, expected.magic, sizeof preface.magic) != 0) {
    return fail(Errc::protocol_violation, "whoever connected does not speak the link protocol");
  }
  if (preface.version != expected.version) {
    return fail(Errc::version_mismatch,
                fmt::format("the peer speaks version {} of the connection preface, this node "
                            "version {}; run the same release of dvs on both",
                            preface.version, expected.version));
  }
  const bool is_known =
      preface.kind == ConnectionKind::link || preface.kind == ConnectionKind::express;
  if (!is_known || std::memcmp(preface.zero, expected.zero, sizeof preface.zero) != 0) {
    return fail(Errc::protocol_violation, "a connection of an unknown kind");
  }
  return preface.kind;
}

Socket::Socket(asio::io_context& io, Fd fd) : io_(io), descriptor_(io, fd.release()) {}

asio::awaitable<Result<void>> Socket::wait(asio::posix::descriptor_base::wait_type type,
                                           TimePoint deadline) {
  std::optional<Deadline> limit;
  if (deadline != dvs::never) limit.emplace(io_, deadline, [this] { descriptor_.cancel(); });
  const auto [error] = co_await descriptor_.async_wait(type, as_result);
  if (limit && limit->is_past()) co_return fail(Errc::deadline, "the peer took too long");
  if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) {
    co_return fail(Errc::cancelled);
  }
  if (error) co_return fail_os("epoll", error.value());
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Socket::wait_readable(TimePoint deadline) {
  return wait(asio::posix::descriptor_base::wait_read, deadline);
}

asio::awaitable<Result<void>> Socket::wait_writable(TimePoint deadline) {
  return wait(asio::posix::descriptor_base::wait_write, deadline);
}

asio::awaitable<Result<void>> Socket::read_exactly(std::span<std::byte> into, TimePoint deadline) {
  while (!into.empty()) {
    const ssize_t size = ::recv(fd(), into.data(), into.size(), 0);
    if (size == 0) co_return fail(Errc::unreachable, "the peer closed the connection");
    if (size > 0) {
      into = into.subspan(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      const auto waited = co_await wait_readable(deadline);
      if (!waited) co_return waited;
    } else if (errno != EINTR) {
      co_return fail_os("recv");
    }
  }
  co_return Result<void>{};
}

Result<void> Socket::send_first(BytesView bytes) {
  const ssize_t size = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (size < 0) return fail_os("send");
  if (static_cast<std::size_t>(size) != bytes.size()) return fail(Errc::unreachable, "short send");
  return {};
}

void Socket::close(bool is_abrupt) {
  if (!is_open()) return;
  if (is_abrupt) {
    const linger reset{1, 0};
    static_cast<void>(::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
  }
  boost::system::error_code ignored;  // the descriptor is gone in every case
  descriptor_.close(ignored);
}

Fd Socket::release() {
  return Fd(descriptor_.release());
}

asio::awaitable<Result<Socket>> dial_tcp(asio::io_context& io, PeerAddress peer,
                                         TimePoint deadline) {
  auto endpoints = co_await resolve(io, peer, deadline);
  if (!endpoints) co_return std::unexpected(std::move(endpoints).error());
  dvs::Error last{};
  for (const tcp::endpoint& endpoint : *endpoints) {
    auto socket = co_await connect_to(io, endpoint, deadline);
    if (socket) co_return std::move(socket);
    last = std::move(socket).error();
    if (last.code == Errc::cancelled || last.code == Errc::deadline) break;
  }
  if (last.code == Errc::system) last.code = Errc::unreachable;
  last.detail = "dialling " + text_of(peer);
  co_return std::unexpected(std::move(last));
}

Result<Fd> listen_tcp(const std::string& host, std::uint16_t port) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) {
    return fail(Errc::invalid_argument,
                "listen address \"" + host + "\" is not numeric; use 0.0.0.0 for all interfaces");
  }
  const tcp::endpoint endpoint(address, port);
  Fd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_os("socket");
  const int yes = 1;
  static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
  if (::bind(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) < 0) {
    return fail_os(fmt::format("binding {}:{} for links", host, port));
  }
  if (::listen(fd.get(), backlog) < 0) return fail_os("listen");
  return fd;
}

std::uint16_t port_of(int fd) {
  tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getsockname(fd, endpoint.data(), &size) < 0) return 0;
  return endpoint.port();
}

void set_link_options(int fd) {
  // Refused only by something that is not a TCP socket, and then not needed.
  const int yes = 1;
  static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
  static_cast<void>(
      ::setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes_max, sizeof unsent_bytes_max));
}

std::string peer_text_of(int fd) {
  tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getpeername(fd, endpoint.data(), &size) < 0) return "?";
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

}  // namespace dvk::link
