// What a daemon is told: by a TOML file, by the command line, which wins, and by defaults.
//
// A Config that load_config returned is complete and consistent: nothing downstream checks it
// again.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "dvk/link/lane.hpp"
#include "dvk/node/policy.hpp"

namespace dvk::daemon {

using dvs::ContainerId;
using dvs::Errc;
using dvs::NodeId;
using dvs::Result;

// One container's share of this node.
struct ContainerConfig {
  ContainerId id{};
  std::string name;
  std::filesystem::path socket;
  mode_t mode = 0660;
  std::size_t endpoints_max = 4096;
  node::Policy::ContainerRules rules;
};

// Where the node's certificate is; see link/pki.hpp.
struct CertificateFiles {
  std::filesystem::path authority, certificate, key;
};

struct TimingConfig {
  std::chrono::milliseconds heartbeat{100};  // silence on a link before a sign of life is sent
  std::chrono::milliseconds suspect{500};    // silence of a peer before it is suspected
  std::chrono::milliseconds give_up{10000};  // silence before the link is declared lost
};

// The nodes agree on who is a member. Without it the list of peers is the membership, for ever.
struct ConsensusConfig {
  bool is_first = false;  // begins a new cluster, where the state directory has none yet
  unsigned voters_max = 3;
  std::chrono::milliseconds lost_after{10000};  // out of view for so long: lost, with all on it
};

struct Config {
  NodeId node{1};
  std::string cluster;  // empty: what the certificates say
  std::filesystem::path state_dir = "/var/lib/dvsd";
  std::filesystem::path run_dir = "/run/dvsd";
  std::string listen_host;  // empty: no links, unless there are peers
  std::uint16_t listen_port = 0;
  std::vector<link::PeerAddress> peers;
  std::optional<CertificateFiles> certificate;
  bool insecure_plaintext = false;
  bool is_compressing = false;
  TimingConfig timings;
  std::optional<ConsensusConfig> consensus;
  std::size_t endpoints_max = 16384;     // of all containers together
  std::size_t ring_bytes = 1024 * 1024;  // from daemon to process and back, each
  std::string log_level = "info";
  std::vector<ContainerConfig> containers;

  bool has_links() const { return !listen_host.empty(); }
};

// What the command line said; what is empty was not said.
struct Overrides {
  std::optional<std::filesystem::path> config_file;
  std::optional<std::uint32_t> node;
  std::optional<std::filesystem::path> state_dir;
  std::optional<std::filesystem::path> run_dir;
  std::optional<std::string> listen;
  std::vector<std::string> peers;  // "N=HOST:PORT"; replaces those of the file
  bool insecure_plaintext = false;
  std::optional<std::string> log_level;
};

// Reads the file, if one is named, and lays the overrides over it. Blocks for the read.
// Errors: invalid_argument, whose detail names file and line, what is wrong, and what would be
// right.
Result<Config> load_config(const Overrides& overrides);
// The same from text; `origin` stands for the file in messages.
Result<Config> parse_config(std::string_view text, const std::string& origin,
                            const Overrides& overrides = {});

// "127.0.0.1:7400", "node2.example:7400", "[::1]:7400". Errors: invalid_argument.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
Result<HostPort> parse_host_port(std::string_view text);

// The cluster of a configuration: what the certificates say, or made from `cluster` where there are
// none. Blocks for the read. Errors: invalid_argument (files unusable, or they contradict
// `cluster`), system.
using ClusterId = std::array<std::uint8_t, 16>;
Result<ClusterId> cluster_id_of(const Config& config);

}  // namespace dvk::daemon
