// TCP sockets: dialling, listening, waiting, and the preface that begins every connection.
#pragma once

#include <span>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/link/lane.hpp"
#include "runtime/fd.hpp"

namespace dvk::link {

// The first eight bytes on a connection, in clear. `kind` says how it goes on.
enum class ConnectionKind : std::uint8_t {
  link = 'L',     // TLS (or not), then frames
  express = 'X',  // an ExpressToken, then whatever the two processes say
};
struct Preface {
  char magic[3] = {'D', 'V', 'K'};
  std::uint8_t version = 1;
  ConnectionKind kind{};
  std::uint8_t zero[3] = {};
};
static_assert(sizeof(Preface) == 8);
// Errors: protocol_violation (not ours), version_mismatch.
dvs::Result<ConnectionKind> decode_preface(std::span<const std::byte, sizeof(Preface)> bytes);

// A non-blocking socket that the loop watches.
class Socket {
 public:
  Socket(boost::asio::io_context& io, dvs::runtime::Fd fd);

  int fd() { return descriptor_.native_handle(); }
  bool is_open() const { return descriptor_.is_open(); }
  boost::asio::io_context& io() { return io_; }

  // Errors: deadline, cancelled (closed meanwhile, or the coroutine cancelled).
  boost::asio::awaitable<dvs::Result<void>> wait_readable(dvs::TimePoint deadline = dvs::never);
  boost::asio::awaitable<dvs::Result<void>> wait_writable(dvs::TimePoint deadline = dvs::never);
  // Reads until `into` is full. Errors: unreachable (the peer closed), those of wait_readable,
  // system.
  boost::asio::awaitable<dvs::Result<void>> read_exactly(std::span<std::byte> into,
                                                         dvs::TimePoint deadline);
  // Sends a few bytes on a fresh connection, whose buffer has room for them.
  dvs::Result<void> send_first(dvs::BytesView bytes);

  // Ends all waits. Abruptly: by a reset, dropping what is on its way.
  void close(bool is_abrupt = false);
  // The descriptor, no longer watched.
  dvs::runtime::Fd release();

 private:
  boost::asio::awaitable<dvs::Result<void>> wait(
      boost::asio::posix::descriptor_base::wait_type type, dvs::TimePoint deadline);

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor descriptor_;
};

// Connected, with the options of set_link_options. Errors: unreachable (nobody there, or no such
// name), deadline, cancelled, system.
boost::asio::awaitable<dvs::Result<Socket>> dial_tcp(boost::asio::io_context& io, PeerAddress peer,
                                                     dvs::TimePoint deadline);
// A listening socket on a numeric address. Errors: invalid_argument, system.
dvs::Result<dvs::runtime::Fd> listen_tcp(const std::string& host, std::uint16_t port);
std::uint16_t port_of(int fd);
// No waiting for more bytes, and only little unsent data in the kernel, so that what is written
// last need not queue behind a lot.
void set_link_options(int fd);
// "10.0.0.2:7411", the other end; "?" when unknown.
std::string peer_text_of(int fd);

}  // namespace dvk::link
