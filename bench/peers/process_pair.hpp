// Measuring between two processes: forks a server and a client for each pair, puts them on their
// cores (and into their network namespaces), and brings the client's samples home.
//
// Everything is done anew in each call, so that a benchmark can interleave short passes of what it
// compares. The caller's own placement is never touched. The caller should have one thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <dvs/result.hpp>

namespace bench {

using dvs::Result;
using Samples = std::vector<double>;

enum class Placement {
  same_core,  // client and server of a pair share one processor
  two_cores,  // each has one of its own (as far as the machine has them)
  free,       // where the kernel likes
};
std::string_view name_of(Placement placement) noexcept;

struct PairOptions {
  Placement placement = Placement::two_cores;
  int pairs = 1;                   // that run at the same time
  std::string server_namespace{};  // names as in `ip netns`; empty: the caller's own
  std::string client_namespace{};
};

// A pair's two halves. Both run in processes of their own, after their placement, and inherit what
// the functions hold.
struct PairBodies {
  // Calls `ready(number)` once the client may begin, then serves until it is killed or returns.
  std::function<Result<void>(const std::function<void(std::uint64_t)>& ready)> serve;
  // Is handed the server's number; measures. All clients of a run begin together.
  std::function<Result<Samples>(std::uint64_t number)> measure;
};

// Runs `options.pairs` pairs, each made by `make`, and returns the samples of each. Servers are
// ended when all clients are done. Errors: peer_died (a client or a server failed; it has said why
// on stderr), system, or whatever `make` says.
Result<std::vector<Samples>> run_pairs(const PairOptions& options,
                                       const std::function<Result<PairBodies>()>& make);

// Samples of all pairs one after the other: for times.
Samples joined(const std::vector<Samples>& of_pairs);
// Sums over the pairs of their n-th samples: for rates, which the pairs achieve together.
Samples summed(const std::vector<Samples>& of_pairs);
// Of a copy; 0 if there are none.
double median(Samples samples);

}  // namespace bench
