// What carries a lane: authenticated connections between nodes. The only thing the rest of the link
// knows of sockets and encryption.
//
// Reading and writing never block: they are tried, and waited for when they cannot be done. All
// from the one thread that runs the loop.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>

#include <boost/asio/awaitable.hpp>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/link/lane.hpp"
#include "runtime/fd.hpp"

namespace dvk::link {

enum class IoStatus : std::uint8_t {
  done,         // more may be possible at once
  would_block,  // wait before trying again
  failed,       // broken or closed by the peer: see Connection::failure
};
struct IoResult {
  IoStatus status{};
  std::size_t bytes = 0;  // moved, also if it then would block
};

class Connection {
 public:
  virtual ~Connection() = default;

  // At most one of each wait at a time. Error: cancelled (closed meanwhile), deadline.
  virtual boost::asio::awaitable<dvs::Result<void>> wait_readable(
      dvs::TimePoint deadline = dvs::never) = 0;
  virtual boost::asio::awaitable<dvs::Result<void>> wait_writable() = 0;

  virtual IoResult read_some(std::span<std::byte> into) = 0;
  // Takes bytes in order. After would_block, bytes already taken may still wait inside: call again
  // when writable, with the same pieces from where they were taken or with none. An untaken piece
  // may be looked at again, so it stays as it is.
  virtual IoResult write_some(std::span<const iovec> pieces) = 0;

  // Why the last call failed.
  virtual const dvs::Error& failure() const = 0;
  // Ends all waits. With `is_abrupt`, as if the network had failed: nothing on its way is
  // delivered.
  virtual void close(bool is_abrupt = false) = 0;

  // Whom the peer's certificate names; no_node if the transport does not authenticate.
  virtual dvs::NodeId peer_node() const = 0;
  // "10.0.0.2:7411", for people.
  virtual const std::string& peer_text() const = 0;
};

// A connection that came in is one of these.
struct ExpressConnection {
  dvs::runtime::Fd socket;
  ExpressToken token{};
};
using Incoming = std::variant<std::unique_ptr<Connection>, ExpressConnection>;

class Transport {
 public:
  virtual ~Transport() = default;

  // Returns the port. Errors: invalid_argument (not an address), system.
  virtual dvs::Result<std::uint16_t> listen(const std::string& host, std::uint16_t port) = 0;
  // The next one that knocks; nothing of it has been read. Errors: cancelled, system.
  virtual boost::asio::awaitable<dvs::Result<dvs::runtime::Fd>> accept() = 0;
  // Finds out what it wants and authenticates it, within handshake_time. Errors: version_mismatch,
  // protocol_violation, wrong_cluster, certificate_expired, certificate_rejected, deadline, system.
  virtual boost::asio::awaitable<dvs::Result<Incoming>> receive(dvs::runtime::Fd socket) = 0;
  // Dials and authenticates, within handshake_time. Errors: those of receive, and unreachable.
  virtual boost::asio::awaitable<dvs::Result<std::unique_ptr<Connection>>> connect(
      PeerAddress peer) = 0;
  // Dials and shows the token; what follows on the socket is the caller's affair.
  virtual boost::asio::awaitable<dvs::Result<dvs::runtime::Fd>> connect_express(
      PeerAddress peer, ExpressToken token) = 0;
};

constexpr dvs::Duration handshake_time = std::chrono::seconds(5);

}  // namespace dvk::link
