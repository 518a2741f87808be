// How long a test runs: short by default, as long as asked for in soak tests.
#pragma once

#include <chrono>
#include <cstdint>

namespace integration {

// --count N: so many rounds. --minutes M: rounds until the time is over. --seed S: of what is
// random.
struct RunOptions {
  std::uint64_t count = 0;  // 0: the test's own short form
  std::chrono::minutes minutes{0};
  std::uint64_t seed = 1;

  // Whether the test goes on after `done` rounds, of which its short form has `rounds`.
  bool wants_more(std::uint64_t done, std::uint64_t rounds) const;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

const RunOptions& run_options();

}  // namespace integration
