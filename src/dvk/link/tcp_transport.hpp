// Links over TCP, with TLS 1.3 or, insecure_plaintext, without.
#pragma once

#include <optional>

#include <boost/asio/io_context.hpp>

#include "dvk/link/socket.hpp"
#include "dvk/link/tls.hpp"
#include "dvk/link/tls_connection.hpp"
#include "dvk/link/transport.hpp"

namespace dvk::link {

class TcpTransport final : public Transport {
 public:
  // Without credentials: insecure_plaintext.
  TcpTransport(boost::asio::io_context& io, std::optional<TlsContext> credentials);

  dvs::Result<std::uint16_t> listen(const std::string& host, std::uint16_t port) override;
  boost::asio::awaitable<dvs::Result<dvs::runtime::Fd>> accept() override;
  boost::asio::awaitable<dvs::Result<Incoming>> receive(dvs::runtime::Fd socket) override;
  boost::asio::awaitable<dvs::Result<std::unique_ptr<Connection>>> connect(
      PeerAddress peer) override;
  boost::asio::awaitable<dvs::Result<dvs::runtime::Fd>> connect_express(
      PeerAddress peer, ExpressToken token) override;

 private:
  boost::asio::awaitable<dvs::Result<std::unique_ptr<Connection>>> secure(Socket socket,
                                                                          TlsRole role,
                                                                          dvs::TimePoint deadline);

  boost::asio::io_context& io_;
  std::optional<TlsContext> credentials_;
  std::optional<Socket> listener_;
};

}  // namespace dvk::link
