// The dvk's own passes, in the same form as its peers (peers/peers.hpp): one server, one client a
// pair, each an endpoint in a process of its own.
#pragma once

#include <string>

#include "peers/peers.hpp"

namespace bench {

// Where the endpoints attach.
struct Sockets {
  std::string server, client;
};

// Microseconds per call.
Result<Samples> dvk_calls(const PairOptions& pair, const Sockets& sockets, const RoundTrips& what);
// Messages per second, one way.
Result<Samples> dvk_stream(const PairOptions& pair, const Sockets& sockets, const Stream& what);
// Microseconds per copy of `bytes` out of the server's granted memory, one after the other.
Result<Samples> dvk_copies(const PairOptions& pair, const Sockets& sockets, std::size_t bytes,
                           int copies);
// MiB per second of copies of `bytes` each with `in_flight` of them under way.
Result<Samples> dvk_copy_stream(const PairOptions& pair, const Sockets& sockets, std::size_t bytes,
                                int copies, int in_flight);

}  // namespace bench
