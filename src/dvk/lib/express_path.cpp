#include "dvk/lib/express_path.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace dvk::lib {
namespace {

constexpr std::size_t out_bytes_max = 256 * 1024;
constexpr std::size_t wire_bytes = 128 * 1024;
constexpr std::size_t in_bytes = 2 * (wire::max_message_bytes + sizeof(wire::PacketHeader));
constexpr char identity[] = "dvk-express";
// What TCP has not got across after so long, it is not waited for: after a broken link its
// repetitions come ever more rarely, while the relay is back at once.
constexpr unsigned silence_max_ms = 2000;

dvs::Error closed(const char* what) {
  return {Errc::unreachable, 0, what};
}

// The secret travels to the callbacks with the SSL object.
unsigned give_secret(SSL* ssl, unsigned char* out, unsigned out_bytes) {
  const auto* secret = static_cast<const Bytes*>(SSL_get_app_data(ssl));
  if (secret == nullptr || secret->size() > out_bytes) return 0;
  std::memcpy(out, secret->data(), secret->size());
  return static_cast<unsigned>(secret->size());
}
unsigned client_secret(SSL* ssl, const char*, char* name, unsigned name_bytes, unsigned char* out,
                       unsigned out_bytes) {
  if (name_bytes < sizeof identity) return 0;
  std::memcpy(name, identity, sizeof identity);
  return give_secret(ssl, out, out_bytes);
}
unsigned server_secret(SSL* ssl, const char* name, unsigned char* out, unsigned out_bytes) {
  return std::strcmp(name, identity) == 0 ? give_secret(ssl, out, out_bytes) : 0;
}

long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace

// Between OpenSSL and the socket. OpenSSL's own socket BIO raises SIGPIPE when the peer has closed;
// a library must not. And it reads only what receive_wire has read: finding out through OpenSSL
// that there is nothing costs four times as much.
struct ExpressPath::Bio {
  static ExpressPath& path_of(BIO* bio) { return *static_cast<ExpressPath*>(BIO_get_data(bio)); }

  static int write(BIO* bio, const char* data, int bytes) {
    BIO_clear_retry_flags(bio);
    const ssize_t sent = ::send(path_of(bio).socket_.get(), data, static_cast<std::size_t>(bytes),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return static_cast<int>(sent);
  }
  static int read(BIO* bio, char* data, int bytes) {
    BIO_clear_retry_flags(bio);
    ExpressPath& path = path_of(bio);
    const std::size_t got =
        std::min(static_cast<std::size_t>(bytes), path.wire_end_ - path.wire_begin_);
    if (got == 0) {
      if (path.is_ended_) return 0;
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(data, path.wire_.data() + path.wire_begin_, got);
    path.wire_begin_ += got;
    return static_cast<int>(got);
  }
  static BIO* create(ExpressPath& path) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dvk express");
      BIO_meth_set_write(made, write);
      BIO_meth_set_read(made, read);
      BIO_meth_set_ctrl(made, bio_control);
      return made;
    }();
    BIO* bio = BIO_new(method);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, &path);
    BIO_set_init(bio, 1);
    return bio;
  }
};

// Reads from the socket what TLS has yet to see. False: nothing came.
bool ExpressPath::receive_wire() {
  if (wire_begin_ == wire_end_) wire_begin_ = wire_end_ = 0;
  const auto room = std::span(wire_).subspan(wire_end_);
  if (room.empty() || is_ended_) return false;
  const ssize_t got = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (got > 0) wire_end_ += static_cast<std::size_t>(got);
  is_ended_ = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  return got > 0 || is_ended_;
}

void ExpressPath::FreeSsl::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}
void ExpressPath::FreeSsl::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

Result<std::unique_ptr<ExpressPath>> ExpressPath::create(const Address& peer, Fd socket,
                                                         const Bytes& secret, bool is_initiator) {
  auto path = std::unique_ptr<ExpressPath>(new ExpressPath(peer, std::move(socket)));
  path->in_.resize(in_bytes);
  // Should it fail, a broken link is waited out.
  static_cast<void>(::setsockopt(path->socket_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT,
                                 &silence_max_ms, sizeof silence_max_ms));
  if (!secret.empty()) DVS_CHECK(path->prepare_tls(secret, is_initiator));
  return path;
}

Result<void> ExpressPath::prepare_tls(const Bytes& secret, bool is_initiator) {
  secret_ = secret;
  context_.reset(SSL_CTX_new(TLS_method()));
  if (!context_) return dvs::fail(Errc::unsupported, "TLS");
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION);
  // The hash of a plain pre-shared key is SHA-256: no other suite would be chosen.
  SSL_CTX_set_ciphersuites(context_.get(), "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256");
  SSL_CTX_set_psk_client_callback(context_.get(), client_secret);
  SSL_CTX_set_psk_server_callback(context_.get(), server_secret);
  SSL_CTX_set_num_tickets(context_.get(), 0);
  SSL_CTX_set_mode(context_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ssl_.reset(SSL_new(context_.get()));
  wire_.resize(wire_bytes);
  BIO* bio = Bio::create(*this);
  if (!ssl_ || bio == nullptr) {
    BIO_free(bio);
    return dvs::fail(Errc::unsupported, "TLS");
  }
  SSL_set_bio(ssl_.get(), bio, bio);  // takes it over
  SSL_set_app_data(ssl_.get(), &secret_);
  if (is_initiator) {
    SSL_set_connect_state(ssl_.get());
  } else {
    SSL_set_accept_state(ssl_.get());
  }
  return {};
}

Result<bool> ExpressPath::shake_hands() {
  if (is_up_) return false;
  if (ssl_) {
    receive_wire();
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_.get());
    if (done != 1) {
      const int why = SSL_get_error(ssl_.get(), done);
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return false;
      return std::unexpected(closed("the handshake failed"));
    }
  }
  is_up_ = true;
  return true;
}

bool ExpressPath::push(BytesView header, BytesView payload) {
  if (out_.size() - out_begin_ > out_bytes_max) return false;
  if (out_begin_ == out_.size()) {
    out_.clear();
    out_begin_ = 0;
  }
  out_.insert(out_.end(), header.begin(), header.end());
  out_.insert(out_.end(), payload.begin(), payload.end());
  return true;
}

Result<void> ExpressPath::send_off() {
  while (out_begin_ < out_.size()) {
    DVS_TRY(const std::size_t written, write_some(BytesView(out_).subspan(out_begin_)));
    if (written == 0) return {};
    out_begin_ += written;
  }
  return {};
}

Result<std::size_t> ExpressPath::write_some(BytesView from) {
  std::size_t written = 0;
  if (ssl_) {
    ERR_clear_error();
    if (SSL_write_ex(ssl_.get(), from.data(), from.size(), &written) == 1) return written;
    const int why = SSL_get_error(ssl_.get(), 0);
    if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) return 0;
    return std::unexpected(closed("writing failed"));
  }
  const ssize_t sent = ::send(socket_.get(), from.data(), from.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return std::unexpected(closed("writing failed"));
}

Result<std::size_t> ExpressPath::read_some(std::span<std::byte> into, bool& is_more_likely) {
  std::size_t got = 0;
  if (ssl_) {
    is_more_likely = false;
    if (!receive_wire() && wire_begin_ == wire_end_ && SSL_has_pending(ssl_.get()) == 0) {
      if (!is_ended_) return 0;
    }
    ERR_clear_error();
    if (SSL_read_ex(ssl_.get(), into.data(), into.size(), &got) == 1) {
      is_more_likely = SSL_has_pending(ssl_.get()) == 1 || wire_begin_ < wire_end_;
      return got;
    }
    const int why = SSL_get_error(ssl_.get(), 0);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return 0;
    return std::unexpected(closed("the peer closed the connection"));
  }
  const ssize_t received = ::recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
  is_more_likely = received == static_cast<ssize_t>(into.size());
  if (received > 0) return static_cast<std::size_t>(received);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return std::unexpected(closed("the peer closed the connection"));
}

void ExpressPath::move_to_front() {
  if (in_begin_ == 0) return;
  std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
  in_end_ -= std::exchange(in_begin_, 0);
}

bool ExpressPath::look() {
  if (is_ahead_ || !is_up_) return is_ahead_;
  move_to_front();
  const auto got = read_some(std::span(in_).subspan(in_end_), is_more_likely_);
  if (!got) looked_ = std::unexpected(got.error());
  if (got) in_end_ += *got;
  return is_ahead_ = !got || *got != 0;
}

Result<void> ExpressPath::receive(const Take& take) {
  do {
    if (!look()) return {};
    is_ahead_ = false;
    DVS_CHECK(std::exchange(looked_, {}));
    DVS_CHECK(parse(take));
  } while (is_more_likely_);
  return {};
}

Result<void> ExpressPath::parse(const Take& take) {
  while (in_end_ - in_begin_ >= sizeof(wire::PacketHeader)) {
    wire::PacketHeader header;
    std::memcpy(&header, in_.data() + in_begin_, sizeof header);
    if (header.version != wire::packet_version || header.payload_bytes > wire::max_message_bytes) {
      return dvs::fail(Errc::protocol_violation, "not a packet");
    }
    const std::size_t bytes = sizeof header + header.payload_bytes;
    if (in_end_ - in_begin_ < bytes) return {};
    take(header, BytesView(in_).subspan(in_begin_ + sizeof header, header.payload_bytes));
    in_begin_ += bytes;
  }
  return {};
}

}  // namespace dvk::lib
