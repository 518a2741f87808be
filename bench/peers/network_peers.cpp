// What messages and copies between nodes are compared with: TCP, bare and under TLS.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>

#include "peers/peers.hpp"
#include "peers/transfer.hpp"
#include "runtime/fd.hpp"

namespace bench {
namespace {

using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::runtime::Fd;

// ---- addresses and sockets

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Result<SocketAddress> parse_address(const std::string& text, std::uint16_t port) {
  SocketAddress address;
  sockaddr_in four{};
  sockaddr_in6 six{};
  if (::inet_pton(AF_INET, text.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    address.length = sizeof four;
    std::memcpy(&address.storage, &four, sizeof four);
  } else if (::inet_pton(AF_INET6, text.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    address.length = sizeof six;
    std::memcpy(&address.storage, &six, sizeof six);
  } else {
    return fail(Errc::invalid_argument, "not an address: " + text);
  }
  return address;
}

Result<void> disable_delay(const Fd& fd) {
  const int on = 1;
  if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
    return fail_os("setsockopt TCP_NODELAY");
  }
  return {};
}

Result<Fd> listen_tcp(const std::string& text) {
  DVS_TRY(SocketAddress address, parse_address(text, 0));
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_os("socket");
  if (::bind(fd.get(), address.get(), address.length) != 0) return fail_os("bind " + text);
  if (::listen(fd.get(), 1) != 0) return fail_os("listen " + text);
  return fd;
}

Result<std::uint16_t> port_of(const Fd& listener) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(listener.get(), address.get(), &address.length) != 0) {
    return fail_os("getsockname");
  }
  // The port is at the same place in both kinds of address.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

Result<Fd> connect_tcp(const std::string& text, std::uint16_t port) {
  DVS_TRY(SocketAddress address, parse_address(text, port));
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_os("socket");
  if (::connect(fd.get(), address.get(), address.length) != 0) return fail_os("connect " + text);
  DVS_CHECK(disable_delay(fd));
  return fd;
}

// ---- TLS

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Deleter<SSL_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;

std::unexpected<dvs::Error> fail_tls(const std::string& what) {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  return fail(Errc::system, what + ": " + (reason != nullptr ? reason : "failed"));
}

// A certificate that signs itself, for this run only.
Result<void> use_new_certificate(SSL_CTX* context) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (!key || !certificate) return fail_tls("certificate");
  constexpr long an_hour = 3600;
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -an_hour);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), an_hour);
  X509_set_pubkey(certificate.get(), key.get());
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0 ||
      SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return fail_tls("certificate");
  }
  return {};
}

enum class Role { client, server };

Result<Context> make_context(Role role) {
  Context context(SSL_CTX_new(role == Role::server ? TLS_server_method() : TLS_client_method()));
  if (!context) return fail_tls("SSL_CTX_new");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context.get(), "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_num_tickets(context.get(), 0);
  // Like the links: several records of 16 KiB with one read.
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_default_read_buffer_len(context.get(), 128 * 1024);
  if (role == Role::server) DVS_CHECK(use_new_certificate(context.get()));
  return context;
}

// ---- one connection, in clear or encrypted

class Connection {
 public:
  static Result<Connection> open(Fd fd, Security security, Role role) {
    Connection connection(std::move(fd));
    if (security == Security::plain) return connection;
    DVS_TRY(connection.context_, make_context(role));
    connection.session_.reset(SSL_new(connection.context_.get()));
    SSL* session = connection.session_.get();
    if (session == nullptr || SSL_set_fd(session, connection.fd_.get()) != 1) {
      return fail_tls("SSL_new");
    }
    if ((role == Role::server ? SSL_accept(session) : SSL_connect(session)) != 1) {
      return fail_tls("TLS handshake");
    }
    return connection;
  }

  Result<void> read(std::span<std::byte> to) {
    if (!session_) return read_exactly(fd_.get(), to);
    while (!to.empty()) {
      std::size_t done = 0;
      if (SSL_read_ex(session_.get(), to.data(), to.size(), &done) != 1)
        return fail_tls("SSL_read");
      to = to.subspan(done);
    }
    return {};
  }

  Result<void> write(BytesView from) {
    if (!session_) return write_exactly(fd_.get(), from);
    std::size_t done = 0;  // all of it, as the socket blocks
    if (SSL_write_ex(session_.get(), from.data(), from.size(), &done) != 1) {
      return fail_tls("SSL_write");
    }
    return {};
  }

 private:
  explicit Connection(Fd fd) noexcept : fd_(std::move(fd)) {}

  Fd fd_;
  Context context_;
  Session session_;
};

Result<Connection> accept_one(const std::string& address, Security security,
                              const std::function<void(std::uint64_t)>& ready) {
  DVS_TRY(const Fd listener, listen_tcp(address));
  DVS_TRY(const std::uint16_t port, port_of(listener));
  ready(port);
  Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) return fail_os("accept");
  DVS_CHECK(disable_delay(fd));
  return Connection::open(std::move(fd), security, Role::server);
}

Result<Connection> connect_one(const std::string& address, std::uint64_t port, Security security) {
  DVS_TRY(Fd fd, connect_tcp(address, static_cast<std::uint16_t>(port)));
  return Connection::open(std::move(fd), security, Role::client);
}

}  // namespace

Result<Samples> tcp_round_trips(const PairOptions& pair, const std::string& server_address,
                                Security security, const RoundTrips& what) {
  const auto serve = [=](const auto& ready) -> Result<void> {
    DVS_TRY(Connection connection, accept_one(server_address, security, ready));
    Bytes buffer(what.bytes);
    for (;;) {
      DVS_CHECK(connection.read(buffer));
      DVS_CHECK(connection.write(buffer));
    }
  };
  const auto measure = [=](std::uint64_t port) -> Result<Samples> {
    DVS_TRY(Connection connection, connect_one(server_address, port, security));
    Bytes buffer(what.bytes);
    return time_calls(what, [&]() -> Result<void> {
      DVS_CHECK(connection.write(buffer));
      return connection.read(buffer);
    });
  };
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            return PairBodies{serve, measure};
          }));
  return joined(samples);
}

Result<Samples> tcp_stream(const PairOptions& pair, const std::string& server_address,
                           Security security, const Stream& what) {
  const auto serve = [=](const auto& ready) -> Result<void> {
    DVS_TRY(Connection connection, accept_one(server_address, security, ready));
    const Bytes buffer(what.bytes);
    for (;;) DVS_CHECK(connection.write(buffer));
  };
  const auto measure = [=](std::uint64_t port) -> Result<Samples> {
    DVS_TRY(Connection connection, connect_one(server_address, port, security));
    Bytes buffer(what.bytes);
    const double mebibytes_a_record = static_cast<double>(what.bytes) / (1024.0 * 1024.0);
    return time_stream(what, mebibytes_a_record, [&] { return connection.read(buffer); });
  };
  DVS_TRY(const auto samples, run_pairs(pair, [&]() -> Result<PairBodies> {
            return PairBodies{serve, measure};
          }));
  return summed(samples);
}

}  // namespace bench
