// The bounds of the cluster's state.
//
// Every replica must have the same ones: a command that one accepts and another refuses makes two
// states of one log. So they are constants of the release; tests pass smaller ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dvs::cluster {

constexpr std::size_t key_bytes_max = 512;  // of a setting, of the name of an authority
constexpr std::size_t value_bytes_max = std::size_t{64} * 1024;
constexpr std::size_t transaction_parts_max = 128;  // comparisons, and likewise operations
// An entry of the log larger than this is refused; it fits into one piece of the engine's.
constexpr std::size_t proposal_bytes_max = std::size_t{128} * 1024;
constexpr std::size_t node_name_bytes_max = 63;  // one label of a host name
constexpr std::size_t node_address_bytes_max = 255;
constexpr std::size_t certificate_fingerprint_bytes_max = 64;
constexpr std::size_t labels_max = 64;
constexpr std::size_t label_bytes_max = 128;  // its name, and likewise its value
constexpr std::size_t nodes_max = 1024;
constexpr std::uint32_t node_number_max = 65535;
// Indexes, view numbers and epochs stay below this, so that counting never wraps.
constexpr std::uint64_t count_max = std::uint64_t{1} << 62;

#ifndef DVS_SETTINGS_BYTES_MAX
#define DVS_SETTINGS_BYTES_MAX (std::size_t{64} * 1024 * 1024)
#endif

struct Limits {
  // Keys, values and setting_overhead_bytes for each.
  std::size_t settings_bytes = DVS_SETTINGS_BYTES_MAX;
  std::size_t authorities = 65536;
  std::size_t sessions = 4096;
  std::size_t answers_per_session = 32;
  // Of the history for watchers. Not part of what replicas agree on.
  std::size_t history_events = 8192;
  std::size_t history_bytes = std::size_t{8} * 1024 * 1024;

  friend bool operator==(const Limits&, const Limits&) = default;
};

constexpr std::size_t setting_overhead_bytes = 64;

}  // namespace dvs::cluster
