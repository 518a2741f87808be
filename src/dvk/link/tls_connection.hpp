// A connection encrypted and authenticated by TLS 1.3.
//
// OpenSSL reads and writes the socket itself, through a BIO of ours that never makes a write wait:
// what the socket does not take is kept, at most a batch of records, and nothing new is encrypted
// before it has gone. So no write has to be repeated with the same arguments.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dvk/link/socket.hpp"
#include "dvk/link/tls.hpp"
#include "dvk/link/transport.hpp"

namespace dvk::link {

enum class TlsRole : std::uint8_t { client, server };

class TlsConnection final : public Connection {
 public:
  // `context` must outlive the connection.
  TlsConnection(Socket socket, const TlsContext& context, TlsRole role);
  ~TlsConnection() override;

  // To be done first. Errors: wrong_cluster, certificate_expired, certificate_rejected,
  // version_mismatch, protocol_violation, unreachable, deadline, cancelled.
  boost::asio::awaitable<dvs::Result<void>> handshake(dvs::TimePoint deadline);

  boost::asio::awaitable<dvs::Result<void>> wait_readable(dvs::TimePoint deadline) override;
  boost::asio::awaitable<dvs::Result<void>> wait_writable() override;
  IoResult read_some(std::span<std::byte> into) override;
  IoResult write_some(std::span<const iovec> pieces) override;
  const dvs::Error& failure() const override { return failure_; }
  void close(bool is_abrupt) override { wire_.socket.close(is_abrupt); }
  dvs::NodeId peer_node() const override { return peer_node_; }
  const std::string& peer_text() const override { return peer_text_; }

 private:
  // What OpenSSL's BIO works on.
  struct Wire {
    explicit Wire(Socket s) : socket(std::move(s)) {}
    std::size_t unsent() const { return out.size() - out_begin; }
    IoStatus flush();
    void append(const char* data, std::size_t size);

    Socket socket;
    std::vector<char> out;  // encrypted, not taken by the socket yet, from out_begin
    std::size_t out_begin = 0;
    bool is_drained = false;  // the last read took all there was
    bool is_ended = false;    // the peer has closed
    int os_errno = 0;         // of a failed call
  };
  struct Bio;  // the callbacks
  struct Free {
    void operator()(ssl_st* ssl) const;
  };
  // A position in a list of pieces.
  class Cursor;

  boost::asio::awaitable<dvs::Result<void>> shake(dvs::TimePoint deadline);
  boost::asio::awaitable<void> say_goodbye();
  bool encrypt(std::span<const std::byte> record);
  std::span<const std::byte> next_record(Cursor& cursor);
  IoResult fail_now();
  dvs::Error current_error() const;

  const TlsContext& context_;
  Wire wire_;
  std::string peer_text_;
  std::unique_ptr<ssl_st, Free> ssl_;
  std::unique_ptr<std::byte[]> record_;  // small pieces are put together here
  dvs::NodeId peer_node_ = dvs::no_node;
  dvs::Error failure_{};
  bool is_failed_ = false;
};

}  // namespace dvk::link
