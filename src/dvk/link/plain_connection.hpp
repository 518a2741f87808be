// A connection without encryption and without proof of who is at the other end: insecure_plaintext.
#pragma once

#include <string>

#include "dvk/link/socket.hpp"
#include "dvk/link/transport.hpp"

namespace dvk::link {

class PlainConnection final : public Connection {
 public:
  explicit PlainConnection(Socket socket);

  boost::asio::awaitable<dvs::Result<void>> wait_readable(dvs::TimePoint deadline) override;
  boost::asio::awaitable<dvs::Result<void>> wait_writable() override;
  IoResult read_some(std::span<std::byte> into) override;
  IoResult write_some(std::span<const iovec> pieces) override;
  const dvs::Error& failure() const override { return failure_; }
  void close(bool is_abrupt) override { socket_.close(is_abrupt); }
  dvs::NodeId peer_node() const override { return dvs::no_node; }
  const std::string& peer_text() const override { return peer_text_; }

 private:
  IoResult fail_with(dvs::Errc code, const char* what, int os_errno);

  Socket socket_;
  std::string peer_text_;
  bool is_drained_ = false;  // the last read took all there was: no use in trying before waiting
  dvs::Error failure_{};
};

}  // namespace dvk::link
