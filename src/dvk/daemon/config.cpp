// See config.hpp. Reading, then laying over, then checking what only makes sense as a whole.
#include "dvk/daemon/config.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "dvk/daemon/toml_reader.hpp"
#include "dvk/link/pki.hpp"
#include "dvk/ring/ring.hpp"

namespace dvk::daemon {
namespace {

using dvs::fail;

constexpr const char* log_levels[] = {"trace", "debug", "info", "warn", "error", "critical", "off"};

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

bool is_log_level(const std::string& level) {
  return std::ranges::count(log_levels, level) != 0;
}

// --- Parts of the file ---

std::optional<HostPort> read_host_port(TomlReader& reader, std::string_view key) {
  std::string text;
  reader.read(key, text);
  if (!reader.has(key)) return std::nullopt;
  auto parsed = parse_host_port(text);
  if (!parsed) {
    reader.wrong(key, "must be \"HOST:PORT\": " + parsed.error().detail);
    return std::nullopt;
  }
  return *parsed;
}

void read_path(TomlReader& reader, std::string_view key, std::filesystem::path& out) {
  std::string text;
  reader.read(key, text);
  if (!reader.has(key)) return;
  if (text.empty()) return reader.wrong(key, "must not be empty");
  out = text;
}

void read_peer(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "peers", problem);
  link::PeerAddress peer;
  reader.require("id");
  reader.require("address");
  reader.read("id", peer.id, 1, 65535);
  if (auto address = read_host_port(reader, "address")) {
    peer.host = address->host;
    peer.port = address->port;
    if (peer.port == 0) reader.wrong("address", "needs a port other than 0");
  }
  reader.refuse_unknown();
  config.peers.push_back(std::move(peer));
}

void read_mode(TomlReader& reader, mode_t& mode) {
  const toml::node* node = reader.node("mode");
  if (node == nullptr) return;
  std::optional<std::uint32_t> value;
  if (const auto number = node->value_exact<std::int64_t>()) {
    value = static_cast<std::uint32_t>(*number);
  } else if (const auto text = node->value_exact<std::string>()) {
    std::uint32_t parsed = 0;
    const char* end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, parsed, 8);
    if (error == std::errc{} && stop == end) value = parsed;
  }
  if (!value || *value > 0777)
    return reader.wrong("mode", "must be file permissions like \"0660\"");
  mode = *value;
}

void read_rules(TomlReader& reader, node::Policy::ContainerRules& rules, TomlProblem& problem) {
  reader.tables("bind", [&](const toml::table& table) {
    TomlReader rule(table, "containers.bind", problem);
    node::Policy::BindRule& bind = rules.bind.emplace_back();
    rule.require("uid");
    rule.require("names");
    rule.read("uid", bind.uid, 0, std::numeric_limits<std::uint32_t>::max());
    rule.read("names", bind.names);
    rule.refuse_unknown();
  });
  reader.tables("talk", [&](const toml::table& table) {
    TomlReader rule(table, "containers.talk", problem);
    node::Policy::TalkRule& talk = rules.talk.emplace_back();
    rule.require("from");
    rule.require("to");
    rule.read("from", talk.from);
    rule.read("to", talk.to);
    rule.refuse_unknown();
  });
}

void read_container(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "containers", problem);
  ContainerConfig container;
  reader.require("id");
  reader.read("id", container.id, 1, std::numeric_limits<std::uint32_t>::max());
  container.name = fmt::format("{}", dvs::raw(container.id));
  reader.read("name", container.name);
  read_path(reader, "socket", container.socket);
  read_mode(reader, container.mode);
  reader.read("endpoints_max", container.endpoints_max, 1, 1'000'000);
  read_rules(reader, container.rules, problem);
  reader.refuse_unknown();
  config.containers.push_back(std::move(container));
}

void read_certificate(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "certificate", problem);
  std::filesystem::path directory;
  read_path(reader, "directory", directory);
  CertificateFiles files;
  if (!directory.empty()) {
    const auto named = link::NodeFiles::in(directory);
    files = {named.authority, named.certificate, named.key};
  }
  read_path(reader, "authority", files.authority);
  read_path(reader, "certificate", files.certificate);
  read_path(reader, "key", files.key);
  reader.refuse_unknown();
  if (files.authority.empty() || files.certificate.empty() || files.key.empty()) {
    problem.add(&table,
                "[certificate] needs \"directory\", or \"authority\", \"certificate\" and "
                "\"key\"");
  }
  config.certificate = std::move(files);
}

void read_timings(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "timings", problem);
  const auto read = [&](std::string_view key, std::chrono::milliseconds& out) {
    std::int64_t milliseconds = out.count();
    reader.read(key, milliseconds, 10, 3'600'000);
    out = std::chrono::milliseconds(milliseconds);
  };
  read("heartbeat_ms", config.timings.heartbeat);
  read("suspect_ms", config.timings.suspect);
  read("give_up_ms", config.timings.give_up);
  reader.refuse_unknown();
  if (config.timings.heartbeat >= config.timings.suspect ||
      config.timings.suspect >= config.timings.give_up) {
    problem.add(&table, "[timings] must satisfy heartbeat_ms < suspect_ms < give_up_ms");
  }
}

void read_consensus(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "consensus", problem);
  ConsensusConfig consensus;
  reader.read("first", consensus.is_first);
  reader.read("voters", consensus.voters_max, 1, 5);
  if (consensus.voters_max % 2 == 0) reader.wrong("voters", "must be 1, 3 or 5");
  std::int64_t lost_after = consensus.lost_after.count();
  reader.read("lost_after_ms", lost_after, 1000, 3'600'000);
  consensus.lost_after = std::chrono::milliseconds(lost_after);
  reader.refuse_unknown();
  config.consensus = consensus;
}

void read_root(const toml::table& table, Config& config, TomlProblem& problem) {
  TomlReader reader(table, "", problem);
  reader.read("node", config.node, 1, 65535);
  reader.read("cluster", config.cluster);
  read_path(reader, "state_dir", config.state_dir);
  read_path(reader, "run_dir", config.run_dir);
  if (auto listen = read_host_port(reader, "listen")) {
    config.listen_host = listen->host;
    config.listen_port = listen->port;
  }
  reader.read("insecure_plaintext", config.insecure_plaintext);
  reader.read("compression", config.is_compressing);
  reader.read("endpoints_max", config.endpoints_max, 1, 1'000'000);
  reader.read("ring_bytes", config.ring_bytes, ring::ring_bytes_min, ring::ring_bytes_max);
  if (!std::has_single_bit(config.ring_bytes)) reader.wrong("ring_bytes", "must be a power of two");
  reader.read("log_level", config.log_level);
  if (!is_log_level(config.log_level)) {
    reader.wrong("log_level", fmt::format("must be one of {}", fmt::join(log_levels, ", ")));
  }
  if (const auto* part = reader.table("certificate")) read_certificate(*part, config, problem);
  if (const auto* part = reader.table("timings")) read_timings(*part, config, problem);
  if (const auto* part = reader.table("consensus")) read_consensus(*part, config, problem);
  reader.tables("peers", [&](const toml::table& peer) { read_peer(peer, config, problem); });
  reader.tables("containers",
                [&](const toml::table& part) { read_container(part, config, problem); });
  reader.refuse_unknown();
}

// --- Laying over, checking ---

Result<void> override_peers(const std::vector<std::string>& peers, Config& config) {
  if (peers.empty()) return {};
  config.peers.clear();
  for (const std::string& text : peers) {
    const std::size_t equals = text.find('=');
    const auto id = parse_number<std::uint16_t>(std::string_view(text).substr(0, equals));
    if (equals == std::string::npos || !id || *id == 0) {
      return fail(Errc::invalid_argument, "--peer " + text + ": must be N=HOST:PORT");
    }
    auto address = parse_host_port(std::string_view(text).substr(equals + 1));
    if (!address || address->port == 0) {
      return fail(Errc::invalid_argument, "--peer " + text + ": must be N=HOST:PORT");
    }
    config.peers.push_back({NodeId{*id}, address->host, address->port});
  }
  return {};
}

Result<void> apply(const Overrides& overrides, Config& config) {
  if (overrides.node) {
    if (*overrides.node == 0 || *overrides.node > 65535) {
      return fail(Errc::invalid_argument, "--node: must be a number from 1 to 65535");
    }
    config.node = NodeId{static_cast<std::uint16_t>(*overrides.node)};
  }
  if (overrides.state_dir) config.state_dir = *overrides.state_dir;
  if (overrides.run_dir) config.run_dir = *overrides.run_dir;
  if (overrides.insecure_plaintext) config.insecure_plaintext = true;
  if (overrides.listen) {
    auto listen = parse_host_port(*overrides.listen);
    if (!listen) return fail(Errc::invalid_argument, "--listen: " + listen.error().detail);
    config.listen_host = listen->host;
    config.listen_port = listen->port;
  }
  if (overrides.log_level) {
    if (!is_log_level(*overrides.log_level)) {
      return fail(Errc::invalid_argument,
                  fmt::format("--log-level: must be one of {}", fmt::join(log_levels, ", ")));
    }
    config.log_level = *overrides.log_level;
  }
  return override_peers(overrides.peers, config);
}

void set_default_containers(Config& config) {
  if (config.containers.empty()) {
    ContainerConfig container;
    container.id = ContainerId{1};
    container.name = "default";
    container.socket = config.run_dir / "dvk.sock";
    config.containers.push_back(std::move(container));
  }
  for (ContainerConfig& container : config.containers) {
    if (container.socket.empty()) {
      container.socket = config.run_dir / ("dvk-" + container.name + ".sock");
    }
  }
}

Result<void> check_containers(const std::string& origin, const Config& config) {
  std::set<ContainerId> ids;
  std::set<std::filesystem::path> sockets;
  for (const ContainerConfig& container : config.containers) {
    if (container.name.empty() || container.name.find('/') != std::string::npos) {
      return fail(Errc::invalid_argument,
                  origin + ": a container's name must not be empty or contain \"/\"");
    }
    if (!ids.insert(container.id).second) {
      return fail(Errc::invalid_argument,
                  fmt::format("{}: two containers have the id {}", origin, dvs::raw(container.id)));
    }
    if (!sockets.insert(container.socket).second) {
      return fail(Errc::invalid_argument, fmt::format("{}: two containers share the socket {}",
                                                      origin, container.socket.string()));
    }
  }
  return {};
}

Result<void> check_links(const std::string& origin, Config& config) {
  if (!config.peers.empty() && config.listen_host.empty()) {
    return fail(Errc::invalid_argument,
                origin + ": peers are given but no \"listen\" address, where they reach this node");
  }
  std::set<NodeId> ids{config.node};
  for (const link::PeerAddress& peer : config.peers) {
    if (!ids.insert(peer.id).second) {
      return fail(Errc::invalid_argument,
                  fmt::format("{}: the peer id {} is {}", origin, dvs::raw(peer.id),
                              peer.id == config.node ? "this node's own" : "given twice"));
    }
  }
  if (config.has_links() && !config.certificate && !config.insecure_plaintext) {
    return fail(Errc::invalid_argument,
                origin +
                    ": links need certificates. Make them with \"dvsd pki init\" and \"dvsd pki "
                    "issue\" and name them in [certificate], or, to do without any protection, "
                    "say insecure_plaintext");
  }
  if (config.certificate && config.insecure_plaintext) {
    return fail(Errc::invalid_argument,
                origin + ": insecure_plaintext and certificates exclude each other");
  }
  return {};
}

}  // namespace

Result<HostPort> parse_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" has no \":PORT\"", text));
  }
  std::string_view host = text.substr(0, colon);
  const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
  if (!port) return fail(Errc::invalid_argument, fmt::format("\"{}\" has no valid port", text));
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\": write an IPv6 address in brackets, [::1]:7400", text));
  }
  if (host.empty()) return fail(Errc::invalid_argument, fmt::format("\"{}\" has no host", text));
  return HostPort{std::string(host), *port};
}

Result<Config> parse_config(std::string_view text, const std::string& origin,
                            const Overrides& overrides) {
  Config config;
  TomlProblem problem{origin, {}};
  try {
    const toml::table table = toml::parse(text, origin);
    read_root(table, config, problem);
  } catch (const toml::parse_error& error) {
    return fail(Errc::invalid_argument,
                fmt::format("{}:{}: {}", origin, error.source().begin.line, error.description()));
  }
  if (problem.error) return std::unexpected(*std::move(problem.error));
  DVS_CHECK(apply(overrides, config));
  set_default_containers(config);
  DVS_CHECK(check_containers(origin, config));
  DVS_CHECK(check_links(origin, config));
  std::ranges::sort(config.peers, {}, &link::PeerAddress::id);
  return config;
}

Result<Config> load_config(const Overrides& overrides) {
  if (!overrides.config_file) return parse_config("", "command line", overrides);
  const std::string path = overrides.config_file->string();
  std::ifstream file(path);
  std::ostringstream text;
  if (!(file && text << file.rdbuf()) && !file.eof()) {
    return fail(Errc::invalid_argument, path + ": cannot be read");
  }
  return parse_config(text.str(), path, overrides);
}

Result<ClusterId> cluster_id_of(const Config& config) {
  if (config.certificate) {
    DVS_TRY(const ClusterId id, link::read_cluster_id(config.certificate->authority));
    if (!config.cluster.empty() && config.cluster != link::to_text(id)) {
      return fail(Errc::invalid_argument,
                  fmt::format("\"cluster\" is \"{}\", but the authority's certificate belongs to "
                              "cluster {}; leave the key out or correct it",
                              config.cluster, link::to_text(id)));
    }
    return id;
  }
  // No protection anyway: any text will do, and the same text gives the same id (FNV-1a, twice).
  ClusterId id{};
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (std::size_t half = 0; half < 2; ++half) {
    for (const char c : config.cluster) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    }
    std::memcpy(id.data() + 8 * half, &hash, sizeof hash);
  }
  return id;
}

}  // namespace dvk::daemon
