// See plain_connection.hpp.
#include "dvk/link/plain_connection.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace dvk::link {

using dvs::Errc;
using dvs::Result;

PlainConnection::PlainConnection(Socket socket)
    : socket_(std::move(socket)), peer_text_(peer_text_of(socket_.fd())) {}

boost::asio::awaitable<Result<void>> PlainConnection::wait_readable(dvs::TimePoint deadline) {
  // The wait itself looks at the socket afresh, so nothing that arrives now can be missed.
  is_drained_ = false;
  return socket_.wait_readable(deadline);
}

boost::asio::awaitable<Result<void>> PlainConnection::wait_writable() {
  return socket_.wait_writable();
}

IoResult PlainConnection::fail_with(Errc code, const char* what, int os_errno) {
  failure_ = {code, os_errno, std::string(what) + " " + peer_text_};
  return {IoStatus::failed, 0};
}

IoResult PlainConnection::read_some(std::span<std::byte> into) {
  if (!socket_.is_open()) return fail_with(Errc::cancelled, "closed the connection to", 0);
  if (is_drained_) return {IoStatus::would_block, 0};
  ssize_t size = 0;
  do {
    size = ::recv(socket_.fd(), into.data(), into.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return {IoStatus::would_block, 0};
  if (size < 0) return fail_with(Errc::unreachable, "reading from", errno);
  if (size == 0) return fail_with(Errc::unreachable, "connection closed by", 0);
  is_drained_ = static_cast<std::size_t>(size) < into.size();
  return {IoStatus::done, static_cast<std::size_t>(size)};
}

IoResult PlainConnection::write_some(std::span<const iovec> pieces) {
  if (!socket_.is_open()) return fail_with(Errc::cancelled, "closed the connection to", 0);
  if (pieces.empty()) return {IoStatus::done, 0};
  const std::size_t count = std::min<std::size_t>(pieces.size(), IOV_MAX);
  std::size_t wanted = 0;
  for (const iovec& piece : pieces.first(count)) wanted += piece.iov_len;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());  // sendmsg only reads them
  message.msg_iovlen = count;
  ssize_t size = 0;
  do {
    size = ::sendmsg(socket_.fd(), &message, MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return {IoStatus::would_block, 0};
  if (size < 0) return fail_with(Errc::unreachable, "writing to", errno);
  const auto bytes = static_cast<std::size_t>(size);
  return {bytes < wanted ? IoStatus::would_block : IoStatus::done, bytes};
}

}  // namespace dvk::link
