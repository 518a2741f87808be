#include "sim/campaign.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "sim/simulation.hpp"

namespace sim {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t seeds_per_child = 50;
constexpr unsigned seconds_per_seed_max = 120;
// Every so many seeds one is run a second time: the same seed must give the same trace.
constexpr std::uint64_t repeat_every = 50;

// --- In a child: a line for each beginning and each end of a seed ---

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

std::string describe(const Outcome& outcome) {
  if (outcome.verdict) {
    return fmt::format("fail {} {} {}\n", outcome.seed, outcome.verdict->law,
                       one_line("[" + outcome.scenario + "] " + outcome.verdict->words));
  }
  return fmt::format("ok {} {} {} {} {} {}\n", outcome.seed, outcome.events, outcome.deliveries,
                     outcome.calls, outcome.copies, outcome.virtual_milliseconds);
}

Outcome run_checked(std::uint64_t seed) {
  Outcome outcome = simulate(seed);
  if (seed % repeat_every == 0 && !outcome.verdict) {
    if (simulate(seed).trace_hash != outcome.trace_hash) {
      outcome.verdict =
          Verdict{"determinism", "two runs of one seed gave different traces", {}, {}};
    }
  }
  return outcome;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written <= 0) ::_exit(3);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

[[noreturn]] void child_main(int out, std::uint64_t first, std::uint64_t last) {
  ::signal(SIGINT, SIG_IGN);  // the parent stops the campaign in an orderly way
  for (std::uint64_t seed = first; seed <= last; ++seed) {
    write_all(out, fmt::format("begin {}\n", seed));
    ::alarm(seconds_per_seed_max);
    write_all(out, describe(run_checked(seed)));
  }
  ::_exit(0);
}

// --- In the parent ---

struct Child {
  pid_t pid = 0;
  int fd = -1;
  std::uint64_t next = 0, last = 0;  // seeds not reported yet
  std::string buffer;
};

volatile std::sig_atomic_t is_interrupted = 0;

class Campaign {
 public:
  explicit Campaign(const CampaignOptions& options) : options_(options), began_(Clock::now()) {}

  dvs::Result<CampaignScore> run() {
    score_.next = options_.first;
    DVS_CHECK(load_state());
    seconds_before_ = score_.seconds;
    assigned_ = score_.next;
    ::signal(SIGINT, [](int) { is_interrupted = 1; });
    ::signal(SIGTERM, [](int) { is_interrupted = 1; });
    while (true) {
      while (children_.size() < options_.jobs && !is_done()) {
        DVS_CHECK(start_child(assigned_, std::min(assigned_ + seeds_per_child - 1, options_.last)));
        assigned_ = children_.back().last + 1;
      }
      if (children_.empty()) break;
      DVS_CHECK(wait_for_news());
    }
    score_.next = assigned_;
    DVS_CHECK(save_state());
    DVS_CHECK(write_json());
    print_progress(true);
    return score_;
  }

 private:
  bool is_done() const {
    const std::chrono::duration<double> elapsed = Clock::now() - began_;
    return assigned_ > options_.last || is_interrupted != 0 ||
           score_.failures.size() >= options_.failures_max ||
           (options_.minutes && elapsed.count() >= *options_.minutes * 60);
  }

  dvs::Result<void> start_child(std::uint64_t first, std::uint64_t last) {
    int fds[2];
    if (::pipe(fds) != 0) return dvs::fail_os("pipe");
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) return dvs::fail_os("fork");
    if (pid == 0) {
      ::close(fds[0]);
      child_main(fds[1], first, last);
    }
    ::close(fds[1]);
    children_.push_back({pid, fds[0], first, last, {}});
    return {};
  }

  dvs::Result<void> wait_for_news() {
    std::vector<pollfd> fds;
    for (const Child& child : children_) fds.push_back({child.fd, POLLIN, 0});
    if (::poll(fds.data(), fds.size(), 1000) < 0 && errno != EINTR) return dvs::fail_os("poll");
    for (std::size_t i = fds.size(); i-- > 0;) {
      if (fds[i].revents != 0) DVS_CHECK(read_child(i));
    }
    print_progress(false);
    return {};
  }

  dvs::Result<void> read_child(std::size_t index) {
    Child& child = children_[index];
    char buffer[4096];
    const ssize_t got = ::read(child.fd, buffer, sizeof(buffer));
    if (got > 0) {
      child.buffer.append(buffer, static_cast<std::size_t>(got));
      for (auto end = child.buffer.find('\n'); end != std::string::npos;
           end = child.buffer.find('\n')) {
        take_line(child, child.buffer.substr(0, end));
        child.buffer.erase(0, end + 1);
      }
      return {};
    }
    if (got < 0) return errno == EINTR ? dvs::Result<void>{} : dvs::fail_os("read");
    return reap(index);
  }

  void take_line(Child& child, const std::string& line) {
    std::istringstream in(line);
    std::string what, law;
    std::uint64_t seed = 0;
    in >> what >> seed;
    if (what == "begin") return;
    child.next = seed + 1;
    ++score_.seeds;
    if (what == "ok") {
      std::uint64_t events = 0, deliveries = 0, calls = 0, copies = 0, virtual_time = 0;
      in >> events >> deliveries >> calls >> copies >> virtual_time;
      score_.events += events;
      score_.deliveries += deliveries;
      score_.calls += calls;
      score_.copies += copies;
      score_.virtual_milliseconds += virtual_time;
      return;
    }
    std::string words;
    in >> law;
    std::getline(in, words);
    fail(seed, law, words);
  }

  void fail(std::uint64_t seed, std::string law, std::string words) {
    fmt::print(stderr, "FAILED: seed {}: {}:{}\n", seed, law, words);
    score_.failures.push_back({seed, std::move(law), std::move(words)});
  }

  // A child that has not come to its end takes one seed with it.
  dvs::Result<void> reap(std::size_t index) {
    const Child child = children_[index];
    children_.erase(children_.begin() + static_cast<std::ptrdiff_t>(index));
    ::close(child.fd);
    int status = 0;
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return save_state_sometimes();
    ++score_.seeds;
    const bool is_hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    fail(child.next, is_hung ? "hung" : "crash",
         is_hung ? " it never ended" : fmt::format(" the process died, wait status {:#x}", status));
    if (child.next < child.last) return start_child(child.next + 1, child.last);
    return {};
  }

  void print_progress(bool is_last) {
    const auto now = Clock::now();
    if (options_.is_quiet || (!is_last && now - printed_ < std::chrono::seconds(5))) return;
    printed_ = now;
    take_time();
    fmt::print(stderr,
               "{} seeds ({:.0f}/s), {} events, {} deliveries, {} calls, {} copies, {:.1f} h of "
               "virtual time, {} failures\n",
               score_.seeds, static_cast<double>(score_.seeds) / std::max(score_.seconds, 0.001),
               score_.events, score_.deliveries, score_.calls, score_.copies,
               static_cast<double>(score_.virtual_milliseconds) / 3'600'000.0,
               score_.failures.size());
  }

  // Brings the score's time up to now.
  void take_time() {
    const std::chrono::duration<double> elapsed = Clock::now() - began_;
    score_.seconds = seconds_before_ + elapsed.count();
  }

  // --- State, one word and its values a line ---

  dvs::Result<void> load_state() {
    if (!options_.resume || !std::filesystem::exists(*options_.resume)) return {};
    std::ifstream in(*options_.resume);
    std::string word;
    std::uint64_t version = 0;
    in >> word >> version;
    if (word != "dvk_sim_campaign" || version != 1) {
      return dvs::fail(dvs::Errc::invalid_argument,
                       "\"" + *options_.resume + "\" is no state file of a campaign");
    }
    in >> score_.next >> score_.seeds >> score_.events >> score_.deliveries >> score_.calls >>
        score_.copies >> score_.virtual_milliseconds >> score_.seconds;
    std::uint64_t seed = 0;
    std::string law, words;
    while (in >> seed >> law && std::getline(in, words)) {
      score_.failures.push_back({seed, law, words});
    }
    return {};
  }

  dvs::Result<void> save_state_sometimes() {
    // Only a state without gaps can be resumed: when the chunk that began first has ended.
    std::uint64_t next = assigned_;
    for (const Child& child : children_) next = std::min(next, child.next);
    if (next != assigned_) return {};
    score_.next = next;
    return save_state();
  }

  dvs::Result<void> save_state() {
    if (!options_.resume) return {};
    take_time();
    const std::string temporary = *options_.resume + ".new";
    {
      std::ofstream out(temporary);
      out << fmt::format("dvk_sim_campaign 1\n{} {} {} {} {} {} {} {}\n", score_.next, score_.seeds,
                         score_.events, score_.deliveries, score_.calls, score_.copies,
                         score_.virtual_milliseconds, score_.seconds);
      for (const CampaignFailure& failure : score_.failures) {
        out << failure.seed << ' ' << failure.law << failure.words << '\n';
      }
      if (!out.flush()) return dvs::fail_os("writing " + temporary);
    }
    if (std::rename(temporary.c_str(), options_.resume->c_str()) != 0)
      return dvs::fail_os("rename");
    return {};
  }

  dvs::Result<void> write_json() {
    if (!options_.json) return {};
    take_time();
    std::ofstream out(*options_.json);
    out << fmt::format(
        "{{\"seeds\": {}, \"next_seed\": {}, \"events\": {}, \"deliveries\": {}, \"calls\": {}, "
        "\"copies\": {}, \"virtual_seconds\": {:.1f}, \"seconds\": {:.1f}, \"failures\": [",
        score_.seeds, score_.next, score_.events, score_.deliveries, score_.calls, score_.copies,
        static_cast<double>(score_.virtual_milliseconds) / 1000.0, score_.seconds);
    for (std::size_t i = 0; i < score_.failures.size(); ++i) {
      out << fmt::format("{}{{\"seed\": {}, \"law\": \"{}\"}}", i == 0 ? "" : ", ",
                         score_.failures[i].seed, score_.failures[i].law);
    }
    out << "]}\n";
    if (!out.flush()) return dvs::fail_os("writing " + *options_.json);
    return {};
  }

  CampaignOptions options_;
  Clock::time_point began_, printed_{};
  double seconds_before_ = 0;
  CampaignScore score_;
  std::uint64_t assigned_ = 0;
  std::vector<Child> children_;
};

}  // namespace

dvs::Result<CampaignScore> run_campaign(const CampaignOptions& options) {
  return Campaign(options).run();
}

dvs::Result<bool> run_seed(std::uint64_t seed, const std::optional<std::string>& trace_file) {
  SimulationOptions options{.keeps_trace = true};
  if (trace_file) {
    options.trace = std::fopen(trace_file->c_str(), "w");
    if (options.trace == nullptr) return dvs::fail_os("opening " + *trace_file);
  }
  const Outcome outcome = simulate(seed, options);
  if (options.trace != nullptr && std::fclose(options.trace) != 0) {
    return dvs::fail_os("writing " + *trace_file);
  }
  fmt::print(
      "seed {} [{}]: {} events, {} deliveries, {} calls, {} copies in {} ms, trace {:016x}\n", seed,
      outcome.scenario, outcome.events, outcome.deliveries, outcome.calls, outcome.copies,
      outcome.virtual_milliseconds, outcome.trace_hash);
  if (!outcome.verdict) return true;
  fmt::print("FAILED: {}: {}\n", outcome.verdict->law, outcome.verdict->words);
  for (const auto& address : outcome.verdict->concerned) {
    if (address) fmt::print("  concerns {}\n", to_string(address));
  }
  for (const TraceEvent& event : outcome.last_events) fmt::print("  {}\n", to_string(event));
  return false;
}

}  // namespace sim
