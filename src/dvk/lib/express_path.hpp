// A connection of its own to the process of a peer on another node: packets one behind the other,
// TLS 1.3 keyed by a secret that the two daemons agreed on over their link.
//
// Never blocks. Whatever goes wrong ends it, and the conversation goes back to the relay.
#pragma once

#include <functional>
#include <memory>

#include "dvk/wire/packet.hpp"
#include "runtime/fd.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace dvk::lib {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Result;
using dvs::runtime::Fd;

class ExpressPath {
 public:
  // Takes the connected socket. No secret: no encryption. The initiator is the TLS client.
  static Result<std::unique_ptr<ExpressPath>> create(const Address& peer, Fd socket,
                                                     const Bytes& secret, bool is_initiator);

  const Address& peer() const { return peer_; }
  int fd() const { return socket_.get(); }
  bool is_up() const { return is_up_; }
  // The socket took less than there was: watch it for being writable.
  bool wants_write() const { return out_begin_ < out_.size(); }

  // Goes on with the handshake. True once, when it is done.
  Result<bool> shake_hands();
  // Queues a packet. False: too much waits already.
  bool push(BytesView header, BytesView payload);
  Result<void> send_off();
  // Whether something has come (or the connection has ended), to be had by `receive`. Reads ahead
  // without waiting: one system call, cheap enough to be asked again and again by who waits awake.
  bool look();
  bool has_something() const { return is_ahead_; }
  // Takes what has come and gives each packet to `take`; its payload is valid during the call.
  using Take = std::function<void(const wire::PacketHeader&, BytesView)>;
  Result<void> receive(const Take& take);

 private:
  struct FreeSsl {
    void operator()(ssl_st* ssl) const;
    void operator()(ssl_ctx_st* context) const;
  };

  struct Bio;

  ExpressPath(const Address& peer, Fd socket) : peer_(peer), socket_(std::move(socket)) {}
  Result<void> prepare_tls(const Bytes& secret, bool is_initiator);
  // Bytes read or written; 0: not now.
  Result<std::size_t> read_some(std::span<std::byte> into, bool& is_more_likely);
  Result<std::size_t> write_some(BytesView from);
  Result<void> parse(const Take& take);
  bool receive_wire();
  void move_to_front();

  Address peer_;
  Fd socket_;
  Bytes secret_;
  std::unique_ptr<ssl_ctx_st, FreeSsl> context_;
  std::unique_ptr<ssl_st, FreeSsl> ssl_;
  Bytes wire_;  // as it came from the socket, for TLS
  std::size_t wire_begin_ = 0, wire_end_ = 0;
  bool is_ended_ = false;
  bool is_up_ = false;
  Bytes out_;
  std::size_t out_begin_ = 0;
  Bytes in_;
  std::size_t in_begin_ = 0, in_end_ = 0;
  // What `look` found.
  bool is_ahead_ = false;
  bool is_more_likely_ = true;
  Result<void> looked_{};
};

}  // namespace dvk::lib
