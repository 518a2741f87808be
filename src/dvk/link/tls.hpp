// TLS as links use it: version 1.3 only, both sides show a certificate of the cluster's authority.
#pragma once

#include <memory>
#include <string>

#include <dvs/result.hpp>

#include "dvk/link/pki.hpp"
#include "dvk/wire/frame.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace dvk::link {

// One node's credentials, loaded.
class TlsContext {
 public:
  // Blocks for disk reads. Errors: certificate_rejected (a file is missing or wrong; the text says
  // which), system.
  static dvs::Result<TlsContext> load(const NodeFiles& files);

  ssl_ctx_st* get() const { return context_.get(); }
  const wire::ClusterId& cluster() const { return cluster_; }

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  std::unique_ptr<ssl_ctx_st, Free> context_;
  wire::ClusterId cluster_{};
};

// Why the last call on `ssl` failed, from OpenSSL's error queue and its verdict on the peer's
// certificate. `peer`: for the text.
dvs::Error tls_error(const ssl_st* ssl, const std::string& peer);

// Who the peer has proved to be. Errors: wrong_cluster, certificate_rejected.
dvs::Result<dvs::NodeId> proven_node(const ssl_st* ssl, const wire::ClusterId& cluster,
                                     const std::string& peer);

}  // namespace dvk::link
