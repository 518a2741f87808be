// What the dvk is measured against: the native ways of moving bytes between two processes.
//
// All functions have the same shape: one pass, in processes of its own (process_pair.hpp), and its
// samples. Round trips and copies give microseconds each; one-way streams give the rate of each
// tenth of the pass, measured where the bytes arrive: records or MiB per second, all pairs
// together.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "peers/process_pair.hpp"

namespace bench {

struct RoundTrips {
  std::size_t bytes = 64;  // each way
  int calls = 10'000;      // measured; a tenth more come first, to warm up
  // The client sleeps that long before each call, so that the server sleeps, too. Not in the
  // samples.
  std::chrono::microseconds pause{0};
};

struct Stream {
  std::size_t bytes = 64;  // of each write and each read
  std::uint64_t records = 500'000;
};

// ---- on one node (local_peers.cpp)

Result<Samples> pipe_round_trips(const PairOptions& pair, const RoundTrips& what);
Result<Samples> unix_socket_round_trips(const PairOptions& pair, const RoundTrips& what);
// Records per second.
Result<Samples> pipe_stream(const PairOptions& pair, const Stream& what);
Result<Samples> unix_socket_stream(const PairOptions& pair, const Stream& what);
// The client copies `bytes` from the server's memory into its own, `copies` times.
Result<Samples> process_memory_copies(const PairOptions& pair, std::size_t bytes, int copies);

// ---- between two network addresses (network_peers.cpp)

enum class Security {
  plain,
  tls,  // TLS 1.3 by OpenSSL on the bare socket, AES-128-GCM; only the server shows a certificate
};

// The server listens on `server_address` (an IPv4 or IPv6 address of `pair.server_namespace`) on a
// port of the kernel's choice; the client connects from its own namespace. TCP_NODELAY is set.
Result<Samples> tcp_round_trips(const PairOptions& pair, const std::string& server_address,
                                Security security, const RoundTrips& what);
// MiB per second, written and read in blocks of `what.bytes`.
Result<Samples> tcp_stream(const PairOptions& pair, const std::string& server_address,
                           Security security, const Stream& what);

}  // namespace bench
