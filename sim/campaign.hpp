// Runs many seeds, in several processes, and keeps the score; can stop and be resumed.
//
// Each seed runs in a child process, so that a broken invariant (which aborts) or an endless loop
// is one seed's failure like any other and the campaign goes on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dvs/result.hpp>

namespace sim {

struct CampaignOptions {
  std::uint64_t first = 1;
  std::uint64_t last = 1000;
  std::optional<double> minutes;      // stop early
  std::optional<std::string> resume;  // state file: read if it is there, written on the way
  std::optional<std::string> json;    // summary
  unsigned jobs = 1;
  unsigned failures_max = 1;  // stop after so many
  bool is_quiet = false;
};

struct CampaignFailure {
  std::uint64_t seed = 0;
  std::string law, words;
};

struct CampaignScore {
  std::uint64_t next = 0;  // the first seed that has not been run
  std::uint64_t seeds = 0, events = 0, deliveries = 0, calls = 0, copies = 0;
  std::uint64_t virtual_milliseconds = 0;
  double seconds = 0;  // of wall time
  std::vector<CampaignFailure> failures;
};

// Errors: system; invalid_argument when the state file cannot be understood.
dvs::Result<CampaignScore> run_campaign(const CampaignOptions& options);

// Runs one seed in this process and prints what it did; the trace goes to `trace_file` if given.
// Returns whether it was clean.
dvs::Result<bool> run_seed(std::uint64_t seed, const std::optional<std::string>& trace_file);

}  // namespace sim
