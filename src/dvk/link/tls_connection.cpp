// See tls_connection.hpp.
#include "dvk/link/tls_connection.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.hpp"

namespace dvk::link {

namespace asio = boost::asio;
using dvs::Errc;
using dvs::Error;
using dvs::Result;
using dvs::TimePoint;

namespace {

constexpr std::size_t record_bytes = 16 * 1024;  // the largest that TLS allows
// So much is encrypted before it is sent: one call for several records is worth a copy within the
// cache.
constexpr std::size_t batch_bytes = 128 * 1024;
// How long a peer that we refused may take to read why.
constexpr dvs::Duration goodbye_time = std::chrono::seconds(1);

}  // namespace

// --- The BIO ---

struct TlsConnection::Bio {
  static Wire& wire_of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    Wire& wire = wire_of(bio);
    BIO_clear_retry_flags(bio);
    if (wire.is_drained) {
      BIO_set_retry_read(bio);
      return -1;
    }
    ssize_t received = 0;
    do {
      received = ::recv(wire.socket.fd(), into, static_cast<std::size_t>(size), 0);
    } while (received < 0 && errno == EINTR);
    if (received < 0 && errno == EAGAIN) {
      BIO_set_retry_read(bio);
    } else if (received < 0) {
      wire.os_errno = errno;
    } else if (received == 0) {
      wire.is_ended = true;
    } else {
      wire.is_drained = received < size;
    }
    return static_cast<int>(received);
  }

  static int write(BIO* bio, const char* data, int size) {
    wire_of(bio).append(data, static_cast<std::size_t>(size));
    return size;
  }

  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return wire_of(bio).is_ended;
    return 0;
  }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dvk link");
      DVS_ASSERT(fresh != nullptr);
      BIO_meth_set_read(fresh, read);
      BIO_meth_set_write(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

void TlsConnection::Wire::append(const char* data, std::size_t size) {
  out.insert(out.end(), data, data + size);
}

IoStatus TlsConnection::Wire::flush() {
  while (unsent() > 0) {
    const ssize_t sent = ::send(socket.fd(), out.data() + out_begin, unsent(), MSG_NOSIGNAL);
    if (sent >= 0) {
      out_begin += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      return IoStatus::would_block;
    } else if (errno != EINTR) {
      os_errno = errno;
      return IoStatus::failed;
    }
  }
  out.clear();
  out_begin = 0;
  return IoStatus::done;
}

// --- Beginning and end ---

void TlsConnection::Free::operator()(SSL* ssl) const {
  SSL_free(ssl);
}

TlsConnection::TlsConnection(Socket socket, const TlsContext& context, TlsRole role)
    : context_(context),
      wire_(std::move(socket)),
      peer_text_(peer_text_of(wire_.socket.fd())),
      ssl_(SSL_new(context.get())) {
  BIO* bio = BIO_new(Bio::method());
  DVS_ASSERT(ssl_ && bio != nullptr);  // out of memory
  BIO_set_data(bio, &wire_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  if (role == TlsRole::client) {
    SSL_set_connect_state(ssl_.get());
  } else {
    SSL_set_accept_state(ssl_.get());
  }
}

TlsConnection::~TlsConnection() = default;

asio::awaitable<Result<void>> TlsConnection::handshake(TimePoint deadline) {
  auto result = co_await shake(deadline);
  if (result) {
    const auto node = proven_node(ssl_.get(), context_.cluster(), peer_text_);
    if (node) {
      peer_node_ = *node;
    } else {
      result = std::unexpected(node.error());
    }
  }
  if (!result && wire_.socket.is_open()) co_await say_goodbye();
  co_return result;
}

asio::awaitable<Result<void>> TlsConnection::shake(TimePoint deadline) {
  for (;;) {
    ERR_clear_error();
    const int outcome = SSL_do_handshake(ssl_.get());
    const int wanted = SSL_get_error(ssl_.get(), outcome);
    Error error{};
    if (outcome != 1 && wanted != SSL_ERROR_WANT_READ) error = current_error();
    // An alert that says what was wrong goes out too.
    while (wire_.flush() == IoStatus::would_block) {
      const auto waited = co_await wire_.socket.wait_writable(deadline);
      if (!waited) co_return waited;
    }
    if (outcome == 1) co_return Result<void>{};
    if (wanted != SSL_ERROR_WANT_READ) co_return std::unexpected(std::move(error));
    const auto waited = co_await wait_readable(deadline);
    if (!waited) co_return waited;
  }
}

// Closing with bytes unread resets the connection, and the peer might never see the alert.
asio::awaitable<void> TlsConnection::say_goodbye() {
  ::shutdown(wire_.socket.fd(), SHUT_WR);
  const TimePoint deadline = std::chrono::steady_clock::now() + goodbye_time;
  std::array<char, 4096> ignored;
  for (;;) {
    const ssize_t size = ::recv(wire_.socket.fd(), ignored.data(), ignored.size(), 0);
    if (size == 0 || (size < 0 && errno != EAGAIN)) break;
    if (size < 0 && !co_await wire_.socket.wait_readable(deadline)) break;
    if (std::chrono::steady_clock::now() >= deadline) break;
  }
  wire_.socket.close();
}

asio::awaitable<Result<void>> TlsConnection::wait_readable(TimePoint deadline) {
  // The wait itself looks at the socket afresh, so nothing that arrives now can be missed.
  wire_.is_drained = false;
  return wire_.socket.wait_readable(deadline);
}

asio::awaitable<Result<void>> TlsConnection::wait_writable() {
  return wire_.socket.wait_writable();
}

// --- Failures ---

Error TlsConnection::current_error() const {
  if (wire_.os_errno != 0) {
    ERR_clear_error();
    return {Errc::unreachable, wire_.os_errno, "connection to " + peer_text_};
  }
  return tls_error(ssl_.get(), peer_text_);
}

IoResult TlsConnection::fail_now() {
  if (!is_failed_) failure_ = current_error();
  is_failed_ = true;
  return {IoStatus::failed, 0};
}

// --- Reading ---

IoResult TlsConnection::read_some(std::span<std::byte> into) {
  if (is_failed_) return {IoStatus::failed, 0};
  if (!wire_.socket.is_open()) {
    failure_ = {Errc::cancelled, 0, "closed the connection to " + peer_text_};
    return {IoStatus::failed, 0};
  }
  ERR_clear_error();
  std::size_t bytes = 0;
  while (bytes < into.size()) {
    std::size_t got = 0;
    const int outcome = SSL_read_ex(ssl_.get(), into.data() + bytes, into.size() - bytes, &got);
    bytes += got;
    if (outcome == 1) continue;
    if (SSL_get_error(ssl_.get(), outcome) == SSL_ERROR_WANT_READ) {
      if (bytes == 0) return {IoStatus::would_block, 0};
      break;
    }
    const IoResult failed = fail_now();
    if (bytes == 0) return failed;
    break;  // what came before the failure counts; the next call tells
  }
  return {IoStatus::done, bytes};
}

// --- Writing ---

class TlsConnection::Cursor {
 public:
  explicit Cursor(std::span<const iovec> pieces) : pieces_(pieces) { skip_empty(); }
  bool is_at_end() const { return pieces_.empty(); }
  std::span<const std::byte> rest() const {
    const iovec& piece = pieces_.front();
    return {static_cast<const std::byte*>(piece.iov_base) + offset_, piece.iov_len - offset_};
  }
  void advance(std::size_t bytes) {
    offset_ += bytes;
    skip_empty();
  }

 private:
  void skip_empty() {
    while (!pieces_.empty() && offset_ == pieces_.front().iov_len) {
      pieces_ = pieces_.subspan(1);
      offset_ = 0;
    }
  }
  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;
};

// As many bytes as fit into a record: in place if they lie together, else copied together.
std::span<const std::byte> TlsConnection::next_record(Cursor& cursor) {
  const auto first = cursor.rest();
  if (first.size() >= record_bytes) {
    cursor.advance(record_bytes);
    return first.first(record_bytes);
  }
  cursor.advance(first.size());
  if (cursor.is_at_end()) return first;
  if (!record_) record_ = std::make_unique_for_overwrite<std::byte[]>(record_bytes);
  std::memcpy(record_.get(), first.data(), first.size());
  std::size_t size = first.size();
  while (size < record_bytes && !cursor.is_at_end()) {
    const auto rest = cursor.rest();
    const std::size_t taken = std::min(rest.size(), record_bytes - size);
    std::memcpy(record_.get() + size, rest.data(), taken);
    size += taken;
    cursor.advance(taken);
  }
  return {record_.get(), size};
}

bool TlsConnection::encrypt(std::span<const std::byte> record) {
  std::size_t written = 0;
  return SSL_write_ex(ssl_.get(), record.data(), record.size(), &written) == 1;
}

IoResult TlsConnection::write_some(std::span<const iovec> pieces) {
  if (is_failed_) return {IoStatus::failed, 0};
  if (!wire_.socket.is_open()) {
    failure_ = {Errc::cancelled, 0, "closed the connection to " + peer_text_};
    return {IoStatus::failed, 0};
  }
  ERR_clear_error();
  Cursor cursor(pieces);
  std::size_t bytes = 0;
  for (;;) {
    const IoStatus flushed = wire_.flush();
    if (flushed == IoStatus::failed) return fail_now();
    if (flushed == IoStatus::would_block) return {IoStatus::would_block, bytes};
    if (cursor.is_at_end()) return {IoStatus::done, bytes};
    while (!cursor.is_at_end() && wire_.unsent() < batch_bytes) {
      const auto record = next_record(cursor);
      if (!encrypt(record)) return fail_now();
      bytes += record.size();
    }
  }
}

}  // namespace dvk::link
