// dvk_sim: runs the simulator for one seed or many. See sim/README.md.
#include <charconv>
#include <cstdio>
#include <thread>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "sim/campaign.hpp"

namespace {

// "A..B" or "A"; false when it is neither.
bool parse_seeds(const std::string& text, std::uint64_t& first, std::uint64_t& last) {
  const char* end = text.data() + text.size();
  auto result = std::from_chars(text.data(), end, first);
  last = first;
  if (result.ec != std::errc{}) return false;
  if (result.ptr == end) return true;
  if (end - result.ptr < 3 || result.ptr[0] != '.' || result.ptr[1] != '.') return false;
  result = std::from_chars(result.ptr + 2, end, last);
  return result.ec == std::errc{} && result.ptr == end && last >= first;
}

int fail(const dvs::Error& error) {
  fmt::print(stderr, "dvk_sim: {}\n", dvs::to_string(error));
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Runs simulated worlds of the dvk and checks its laws in them.\n"
      "Exit code: 0 clean, 1 a law was broken, 2 could not run."};
  std::string seeds;
  std::uint64_t seed = 0;
  std::optional<std::string> trace;
  sim::CampaignOptions options;
  options.jobs = std::max(1U, std::thread::hardware_concurrency());
  auto* seeds_option = app.add_option("--seeds", seeds, "Seeds to run, A..B");
  auto* seed_option =
      app.add_option("--seed", seed, "Runs this one seed and says in detail what broke");
  app.add_option("--minutes", options.minutes, "Stops after that time, whatever is left");
  app.add_option("--resume", options.resume, "State file: goes on from there, and adds up in it");
  app.add_option("--trace", trace, "With --seed: writes every event to this file");
  app.add_option("--json", options.json, "Writes a summary to this file");
  app.add_option("--jobs", options.jobs, "Processes at a time")->check(CLI::Range(1, 256));
  app.add_option("--failures", options.failures_max, "Stops after that many failures");
  app.add_flag("--quiet", options.is_quiet, "No progress on stderr");
  seeds_option->excludes(seed_option);
  CLI11_PARSE(app, argc, argv);

  if (*seed_option) {
    const auto clean = sim::run_seed(seed, trace);
    if (!clean) return fail(clean.error());
    return *clean ? 0 : 1;
  }
  options.last = UINT64_MAX - 1;
  if (*seeds_option && !parse_seeds(seeds, options.first, options.last)) {
    return fail({dvs::Errc::invalid_argument, 0, "--seeds wants A..B"});
  }
  if (!*seeds_option && !options.minutes) {
    return fail({dvs::Errc::invalid_argument, 0, "say --seed, --seeds or --minutes"});
  }
  const auto score = sim::run_campaign(options);
  if (!score) return fail(score.error());
  if (score->failures.empty()) return 0;
  // The first failure in detail: the same run once more, with its last events.
  (void)sim::run_seed(score->failures.front().seed, std::nullopt);
  return 1;
}
