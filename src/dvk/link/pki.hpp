// Certificates: one authority per cluster, one certificate per node.
//
// Both are X.509 with keys on the curve P-256. The authority's names the cluster, dvs://<cluster
// id>, and a node's the cluster and the node, dvs://<cluster id>/node/<number>, as a URI. A node
// proves by its own that it belongs to the cluster and which node it is. Key files are readable by
// their owner only.
#pragma once

#include <chrono>
#include <filesystem>
#include <string_view>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "dvk/wire/frame.hpp"

struct x509_st;

namespace dvk::link {

// What a node needs for its links.
struct NodeFiles {
  std::filesystem::path authority;    // the authority's certificate
  std::filesystem::path certificate;  // the node's own
  std::filesystem::path key;

  // As issue_node names them in `directory`.
  static NodeFiles in(const std::filesystem::path& directory);
};

struct Validity {
  std::chrono::system_clock::time_point from;
  std::chrono::system_clock::time_point until;

  // From an hour ago, as clocks differ.
  static Validity for_days(int days);
};

// Makes a new cluster: a random id and an authority for it, in authority.pem and authority.key in
// `directory`, which is created. Returns the id. Blocks for disk writes.
// Errors: invalid_argument (there is an authority already, or the name is empty or longer than 60
// bytes), system.
dvs::Result<wire::ClusterId> create_authority(const std::filesystem::path& directory,
                                              std::string_view cluster_name,
                                              Validity validity = Validity::for_days(3650));

// Issues a node's certificate with a fresh key into `directory`, which is created, with a copy of
// the authority's certificate. What was there is replaced. Blocks for disk reads and writes.
// Errors: invalid_argument (no node, or no usable authority), system.
dvs::Result<void> issue_node(const std::filesystem::path& directory,
                             const std::filesystem::path& authority_directory, dvs::NodeId node,
                             Validity validity = Validity::for_days(365));

// The cluster that an authority's certificate stands for.
// Errors: invalid_argument (no such file, or not an authority of ours), system.
dvs::Result<wire::ClusterId> read_cluster_id(const std::filesystem::path& authority_certificate);

// Who a certificate says it is; nothing about whether that is true. Errors: certificate_rejected.
struct Identity {
  wire::ClusterId cluster{};
  dvs::NodeId node{};  // no_node: the authority
};
dvs::Result<Identity> identity_of(const x509_st* certificate);

std::string to_text(const wire::ClusterId& cluster);  // 32 hexadecimal digits

}  // namespace dvk::link
