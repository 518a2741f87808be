// See pki.hpp. The extensions follow RFC 5280; serial numbers are 127 random bits.
#include "dvk/link/pki.hpp"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "runtime/fd.hpp"

namespace dvk::link {

using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::NodeId;
using dvs::Result;
using wire::ClusterId;
namespace fs = std::filesystem;

namespace {

struct Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(BIO* p) const { BIO_free_all(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(BIGNUM* p) const { BN_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

constexpr const char* authority_certificate_name = "authority.pem";
constexpr const char* authority_key_name = "authority.key";
constexpr const char* node_certificate_name = "node.pem";
constexpr const char* node_key_name = "node.key";
constexpr std::string_view uri_scheme = "dvs://";
constexpr std::size_t cluster_name_bytes_max = 60;  // X.520 allows 64 in a common name

std::unexpected<dvs::Error> fail_crypto(const char* what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return fail(Errc::system, fmt::format("{}: {}", what, reason ? reason : "OpenSSL failed"));
}

// --- Files ---

// Replaces the file as a whole or not at all.
Result<void> write_file(const fs::path& path, std::string_view text, mode_t mode) {
  const fs::path fresh = path.string() + ".new";
  ::unlink(fresh.c_str());
  dvs::runtime::Fd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd) return fail_os("creating " + fresh.string());
  while (!text.empty()) {
    const ssize_t size = ::write(fd.get(), text.data(), text.size());
    if (size < 0) return fail_os("writing " + fresh.string());
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  if (::fsync(fd.get()) < 0) return fail_os("writing " + fresh.string());
  if (::rename(fresh.c_str(), path.c_str()) < 0) return fail_os("renaming " + fresh.string());
  return {};
}

Result<void> make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_os("creating " + path.string(), error.value());
  return {};
}

std::string contents_of(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  return {data, static_cast<std::size_t>(size)};
}

Result<void> write_certificate(const fs::path& path, X509* certificate) {
  const Owned<BIO> memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio_X509(memory.get(), certificate) != 1) {
    return fail_crypto("encoding a certificate");
  }
  return write_file(path, contents_of(memory.get()), 0644);
}

Result<void> write_key(const fs::path& path, EVP_PKEY* key) {
  const Owned<BIO> memory(BIO_new(BIO_s_mem()));
  if (!memory ||
      PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return fail_crypto("encoding a key");
  }
  return write_file(path, contents_of(memory.get()), 0600);
}

Result<Owned<X509>> read_certificate(const fs::path& path) {
  const Owned<BIO> file(BIO_new_file(path.c_str(), "r"));
  Owned<X509> certificate(file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr)
                               : nullptr);
  ERR_clear_error();
  if (!certificate) return fail(Errc::invalid_argument, path.string() + " holds no certificate");
  return certificate;
}

Result<Owned<EVP_PKEY>> read_key(const fs::path& path) {
  const Owned<BIO> file(BIO_new_file(path.c_str(), "r"));
  Owned<EVP_PKEY> key(file ? PEM_read_bio_PrivateKey(file.get(), nullptr, nullptr, nullptr)
                           : nullptr);
  ERR_clear_error();
  if (!key) return fail(Errc::invalid_argument, path.string() + " holds no private key");
  return key;
}

// --- Certificates ---

struct Issuer {
  Owned<X509> certificate;  // nullptr: the new one signs itself
  Owned<EVP_PKEY> key;
};

Result<void> add_extension(X509* certificate, X509* issuer, int which, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Owned<X509_EXTENSION> extension(
      X509V3_EXT_conf_nid(nullptr, &context, which, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return fail_crypto("adding a certificate extension");
  }
  return {};
}

Result<void> add_name(X509_NAME* name, const char* field, const std::string& value) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, bytes, static_cast<int>(value.size()),
                                 -1, 0) != 1) {
    return fail_crypto("naming a certificate");
  }
  return {};
}

Result<void> set_serial(X509* certificate) {
  const Owned<BIGNUM> serial(BN_new());
  if (!serial || BN_rand(serial.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return fail_crypto("numbering a certificate");
  }
  return {};
}

// A certificate with everything but extensions and signature.
Result<Owned<X509>> blank_certificate(EVP_PKEY* key, const std::string& common_name,
                                      const std::string& organisation, const Validity& validity) {
  Owned<X509> certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), key) != 1) {
    return fail_crypto("making a certificate");
  }
  DVS_CHECK(set_serial(certificate.get()));
  using std::chrono::system_clock;
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()),
                    system_clock::to_time_t(validity.from)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                    system_clock::to_time_t(validity.until)) == nullptr) {
    return fail_crypto("dating a certificate");
  }
  X509_NAME* name = X509_get_subject_name(certificate.get());
  DVS_CHECK(add_name(name, "O", organisation));
  DVS_CHECK(add_name(name, "CN", common_name));
  return certificate;
}

Result<void> sign(X509* certificate, X509* issuer, EVP_PKEY* key) {
  if (X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) != 1 ||
      X509_sign(certificate, key, EVP_sha256()) == 0) {
    return fail_crypto("signing a certificate");
  }
  return {};
}

Result<Owned<EVP_PKEY>> new_key() {
  Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (!key) return fail_crypto("generating a key");
  return key;
}

Result<Owned<X509>> authority_certificate(EVP_PKEY* key, const ClusterId& cluster,
                                          const std::string& cluster_name,
                                          const Validity& validity) {
  const std::string id = to_text(cluster);
  DVS_TRY(auto certificate, blank_certificate(key, cluster_name, "DVS cluster " + id, validity));
  X509* self = certificate.get();
  DVS_CHECK(add_extension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  DVS_CHECK(add_extension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign"));
  DVS_CHECK(add_extension(self, self, NID_subject_key_identifier, "hash"));
  DVS_CHECK(
      add_extension(self, self, NID_subject_alt_name, fmt::format("URI:{}{}", uri_scheme, id)));
  DVS_CHECK(sign(self, self, key));
  return certificate;
}

Result<Owned<X509>> node_certificate(EVP_PKEY* key, const Issuer& issuer, const ClusterId& cluster,
                                     NodeId node, const Validity& validity) {
  const std::string id = to_text(cluster);
  DVS_TRY(auto certificate, blank_certificate(key, fmt::format("node {}", dvs::raw(node)),
                                              "DVS cluster " + id, validity));
  X509* self = certificate.get();
  X509* authority = issuer.certificate.get();
  DVS_CHECK(add_extension(self, authority, NID_basic_constraints, "critical,CA:FALSE"));
  DVS_CHECK(add_extension(self, authority, NID_key_usage, "critical,digitalSignature"));
  DVS_CHECK(add_extension(self, authority, NID_ext_key_usage, "serverAuth,clientAuth"));
  DVS_CHECK(add_extension(self, authority, NID_subject_key_identifier, "hash"));
  DVS_CHECK(add_extension(self, authority, NID_authority_key_identifier, "keyid:always"));
  DVS_CHECK(add_extension(self, authority, NID_subject_alt_name,
                          fmt::format("URI:{}{}/node/{}", uri_scheme, id, dvs::raw(node))));
  DVS_CHECK(sign(self, authority, issuer.key.get()));
  return certificate;
}

// --- Identities ---

std::optional<ClusterId> parse_cluster_id(std::string_view text) {
  ClusterId cluster{};
  if (text.size() != 2 * cluster.size()) return std::nullopt;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    const char* begin = text.data() + 2 * i;
    const auto parsed = std::from_chars(begin, begin + 2, cluster[i], 16);
    if (parsed.ec != std::errc{} || parsed.ptr != begin + 2) return std::nullopt;
  }
  return cluster;
}

std::optional<Identity> parse_uri(std::string_view uri) {
  constexpr std::string_view node_part = "/node/";
  constexpr std::size_t id_digits = 2 * sizeof(ClusterId);
  if (!uri.starts_with(uri_scheme)) return std::nullopt;
  uri.remove_prefix(uri_scheme.size());
  const auto cluster = parse_cluster_id(uri.substr(0, id_digits));
  if (!cluster) return std::nullopt;
  uri.remove_prefix(id_digits);
  if (uri.empty()) return Identity{*cluster, dvs::no_node};
  if (!uri.starts_with(node_part)) return std::nullopt;
  uri.remove_prefix(node_part.size());
  std::uint16_t node = 0;
  const auto parsed = std::from_chars(uri.data(), uri.data() + uri.size(), node);
  if (parsed.ec != std::errc{} || parsed.ptr != uri.data() + uri.size() || node == 0) {
    return std::nullopt;
  }
  return Identity{*cluster, NodeId{node}};
}

Result<Issuer> read_authority(const fs::path& directory) {
  Issuer issuer;
  DVS_TRY(issuer.certificate, read_certificate(directory / authority_certificate_name));
  DVS_TRY(issuer.key, read_key(directory / authority_key_name));
  if (X509_check_private_key(issuer.certificate.get(), issuer.key.get()) != 1) {
    ERR_clear_error();
    return fail(Errc::invalid_argument,
                "certificate and key in " + directory.string() + " do not belong together");
  }
  return issuer;
}

}  // namespace

NodeFiles NodeFiles::in(const fs::path& directory) {
  return {directory / authority_certificate_name, directory / node_certificate_name,
          directory / node_key_name};
}

Validity Validity::for_days(int days) {
  const auto now = std::chrono::system_clock::now();
  return {now - std::chrono::hours(1), now + std::chrono::days(days)};
}

std::string to_text(const ClusterId& cluster) {
  std::string text;
  for (const std::uint8_t byte : cluster) text += fmt::format("{:02x}", byte);
  return text;
}

Result<Identity> identity_of(const X509* certificate) {
  const Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri));
    const auto identity = parse_uri({text, static_cast<std::size_t>(ASN1_STRING_length(uri))});
    if (identity) return *identity;
  }
  return fail(Errc::certificate_rejected, "the certificate names no cluster and node");
}

Result<ClusterId> create_authority(const fs::path& directory, std::string_view cluster_name,
                                   Validity validity) {
  if (cluster_name.empty() || cluster_name.size() > cluster_name_bytes_max) {
    return fail(Errc::invalid_argument,
                fmt::format("a cluster name has 1 to {} bytes", cluster_name_bytes_max));
  }
  DVS_CHECK(make_directory(directory));
  std::error_code ignored;
  if (fs::exists(directory / authority_key_name, ignored)) {
    return fail(Errc::invalid_argument, directory.string() +
                                            " holds an authority already; choose another "
                                            "directory, or remove it if the cluster is gone");
  }
  ClusterId cluster{};
  if (RAND_bytes(cluster.data(), cluster.size()) != 1) return fail_crypto("drawing a cluster id");
  DVS_TRY(const auto key, new_key());
  DVS_TRY(const auto certificate,
          authority_certificate(key.get(), cluster, std::string(cluster_name), validity));
  DVS_CHECK(write_key(directory / authority_key_name, key.get()));
  DVS_CHECK(write_certificate(directory / authority_certificate_name, certificate.get()));
  return cluster;
}

Result<void> issue_node(const fs::path& directory, const fs::path& authority_directory, NodeId node,
                        Validity validity) {
  if (node == dvs::no_node) return fail(Errc::invalid_argument, "node numbers begin at 1");
  DVS_TRY(const Issuer issuer, read_authority(authority_directory));
  const auto identity = identity_of(issuer.certificate.get());
  if (!identity || identity->node != dvs::no_node) {
    return fail(Errc::invalid_argument,
                authority_directory.string() + " does not hold the authority of a cluster");
  }
  DVS_TRY(const auto key, new_key());
  DVS_TRY(const auto certificate,
          node_certificate(key.get(), issuer, identity->cluster, node, validity));
  DVS_CHECK(make_directory(directory));
  const NodeFiles files = NodeFiles::in(directory);
  DVS_CHECK(write_key(files.key, key.get()));
  DVS_CHECK(write_certificate(files.certificate, certificate.get()));
  return write_certificate(files.authority, issuer.certificate.get());
}

Result<ClusterId> read_cluster_id(const fs::path& authority_certificate_file) {
  DVS_TRY(const auto certificate, read_certificate(authority_certificate_file));
  const auto identity = identity_of(certificate.get());
  if (!identity || identity->node != dvs::no_node) {
    return fail(Errc::invalid_argument,
                authority_certificate_file.string() + " is not the authority of a cluster");
  }
  return identity->cluster;
}

}  // namespace dvk::link
