// See tls.hpp.
#include "dvk/link/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <utility>

#include <fmt/format.h>

namespace dvk::link {

using dvs::Errc;
using dvs::Error;
using dvs::fail;
using dvs::Result;

namespace {

// AES first: processors of today do it in hardware, and 128 bits faster than 256.
constexpr const char* cipher_suites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// So much is read from the socket at once: several records of 16 KiB.
constexpr std::size_t read_buffer_bytes = 128 * 1024;

std::unexpected<Error> unusable(const std::filesystem::path& file, const char* what) {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  ERR_clear_error();
  return fail(Errc::certificate_rejected,
              fmt::format("{} {}: {}; issue the node's certificate again", what, file.string(),
                          reason ? reason : "unusable"));
}

void set_options(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, cipher_suites);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(context, 1);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, read_buffer_bytes);
}

// What our own check of the peer's certificate found.
Error verdict_error(long verdict, const std::string& peer) {
  const char* reason = X509_verify_cert_error_string(verdict);
  switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {Errc::certificate_expired, 0,
              fmt::format("the certificate of {} has expired; issue it a new one", peer)};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {
          Errc::certificate_expired, 0,
          fmt::format("the certificate of {} is not valid yet; compare the clocks of both nodes",
                      peer)};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_SUBJECT_ISSUER_MISMATCH:
    case X509_V_ERR_AKID_SKID_MISMATCH:
      return {Errc::wrong_cluster, 0,
              fmt::format("the certificate of {} was issued by another cluster's authority ({}); "
                          "issue it one of this cluster",
                          peer, reason)};
    default:
      return {Errc::certificate_rejected, 0,
              fmt::format("the certificate of {} is not acceptable: {}", peer, reason)};
  }
}

// What the peer said in its alert, mostly about our certificate.
Error alert_error(int reason, const std::string& peer) {
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
      return {
          Errc::wrong_cluster, 0,
          fmt::format("{} refuses this node's certificate: issued by another cluster's authority",
                      peer)};
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return {Errc::certificate_expired, 0,
              fmt::format("{} refuses this node's certificate as expired or not valid yet; issue a "
                          "new one, or compare the clocks of both nodes",
                          peer)};
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return {Errc::certificate_rejected, 0,
              fmt::format("{} refuses this node's certificate; its own log says why", peer)};
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return {Errc::version_mismatch, 0, fmt::format("{} does not speak TLS 1.3", peer)};
    default:
      return {Errc::protocol_violation, 0,
              fmt::format("TLS with {} failed: {}; is insecure_plaintext set on one side only?",
                          peer, ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason)))};
  }
}

}  // namespace

void TlsContext::Free::operator()(SSL_CTX* context) const {
  SSL_CTX_free(context);
}

Result<TlsContext> TlsContext::load(const NodeFiles& files) {
  ERR_clear_error();
  auto cluster = read_cluster_id(files.authority);
  if (!cluster) return fail(Errc::certificate_rejected, std::move(cluster).error().detail);
  TlsContext loaded;
  loaded.cluster_ = *cluster;
  loaded.context_.reset(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = loaded.get();
  if (context == nullptr) return fail(Errc::system, "OpenSSL cannot make a TLS context");
  set_options(context);
  if (SSL_CTX_load_verify_file(context, files.authority.c_str()) != 1) {
    return unusable(files.authority, "the authority's certificate");
  }
  if (SSL_CTX_use_certificate_file(context, files.certificate.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable(files.certificate, "the node's certificate");
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable(files.key, "the node's key");
  }
  return loaded;
}

Error tls_error(const SSL* ssl, const std::string& peer) {
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  const long verdict = SSL_get_verify_result(ssl);
  if (verdict != X509_V_OK) return verdict_error(verdict, peer);
  const int reason = ERR_GET_REASON(code);
  if (code == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return {Errc::unreachable, 0, "connection closed by " + peer};
  }
  if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    return {Errc::certificate_rejected, 0, peer + " shows no certificate"};
  }
  return alert_error(reason, peer);
}

Result<dvs::NodeId> proven_node(const SSL* ssl, const wire::ClusterId& cluster,
                                const std::string& peer) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) {
    return fail(Errc::certificate_rejected, peer + " shows no certificate");
  }
  DVS_TRY(const Identity identity, identity_of(certificate));
  if (identity.cluster != cluster) {
    return fail(Errc::wrong_cluster, fmt::format("the certificate of {} belongs to cluster {}",
                                                 peer, to_text(identity.cluster)));
  }
  if (identity.node == dvs::no_node) {
    return fail(Errc::certificate_rejected, peer + " shows a certificate that names no node");
  }
  return identity.node;
}

}  // namespace dvk::link
