#include "peers/process_pair.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "peers/transfer.hpp"
#include "runtime/fd.hpp"

namespace bench {
namespace {

using dvs::fail_os;
using dvs::runtime::Fd;

// A process of ours; killed and reaped when it goes out of scope.
class Child {
 public:
  explicit Child(pid_t pid) noexcept : pid_(pid) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  pid_t pid_;
};

Result<std::uint64_t> read_number(int fd) {
  std::uint64_t number = 0;
  DVS_CHECK(read_exactly(fd, std::as_writable_bytes(std::span(&number, 1))));
  return number;
}

// A channel may have lost its other end: that is an error, not a signal.
Result<void> write_number(int fd, std::uint64_t number) {
  if (::send(fd, &number, sizeof number, MSG_NOSIGNAL) != ssize_t{sizeof number}) {
    return fail_os("send");
  }
  return {};
}

// A socket between a child and the process that measures.
struct Channel {
  Fd parent;
  Fd child;
};

Result<Channel> make_channel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_os("socketpair");
  return Channel{Fd(ends[0]), Fd(ends[1])};
}

std::vector<int> allowed_processors() {
  cpu_set_t set;
  std::vector<int> processors;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

Result<void> pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) return fail_os("sched_setaffinity");
  return {};
}

Result<void> enter_namespace(const std::string& name) {
  if (name.empty()) return {};
  const std::string path = "/run/netns/" + name;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_os("open " + path);
  if (::setns(fd.get(), CLONE_NEWNET) != 0) return fail_os("setns " + path);
  return {};
}

// Where one half of a pair is to run. A processor of -1 means anywhere.
struct Place {
  int processor;
  std::string network_namespace;
};

Place place_of(const PairOptions& options, int pair, bool is_server) {
  const std::string& name = is_server ? options.server_namespace : options.client_namespace;
  const std::vector<int> processors = allowed_processors();
  if (options.placement == Placement::free || processors.empty()) return {-1, name};
  const bool is_apart = is_server && options.placement == Placement::two_cores;
  const auto index = static_cast<std::size_t>(pair) + (is_apart ? 1 : 0);
  return {processors[index % processors.size()], name};
}

// Forks, goes to the place, runs `body` and ends: the child never returns from here.
Result<Child> spawn(const Place& place, const std::function<Result<void>()>& body) {
  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail_os("fork");
  if (pid > 0) return Child(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  auto result = enter_namespace(place.network_namespace);
  if (result && place.processor >= 0) result = pin(place.processor);
  if (result) result = body();
  if (!result) std::fprintf(stderr, "bench: %s\n", to_string(result.error()).c_str());
  ::_exit(result ? 0 : 1);
}

// Servers end badly as a rule, when their client is done and gone: no error, once they have begun.
Result<Child> spawn_server(const Place& place, const PairBodies& bodies, int channel) {
  return spawn(place, [&]() -> Result<void> {
    bool has_begun = false;
    auto result = bodies.serve([&](std::uint64_t number) {
      has_begun = true;
      (void)write_number(channel, number);
    });
    return has_begun ? Result<void>{} : result;
  });
}

// The client waits for its server's number, which doubles as the signal to begin.
Result<Child> spawn_client(const Place& place, const PairBodies& bodies, int channel) {
  return spawn(place, [&]() -> Result<void> {
    DVS_TRY(const std::uint64_t number, read_number(channel));
    DVS_TRY(const Samples samples, bodies.measure(number));
    DVS_CHECK(write_number(channel, samples.size()));
    return write_exactly(channel, std::as_bytes(std::span(samples)));
  });
}

Result<Samples> read_samples(int fd) {
  DVS_TRY(const std::uint64_t count, read_number(fd));
  Samples samples(count);
  DVS_CHECK(read_exactly(fd, std::as_writable_bytes(std::span(samples))));
  return samples;
}

struct RunningPair {
  Fd to_server;
  Fd to_client;
  Child server;
  Child client;
};

Result<RunningPair> start_pair(const PairOptions& options, int index, const PairBodies& bodies) {
  // A channel's far end is closed here before the next child is made: so nobody but its owner holds
  // it, and the owner's death shows.
  DVS_TRY(Channel first, make_channel());
  DVS_TRY(Child server, spawn_server(place_of(options, index, true), bodies, first.child.get()));
  first.child.close();
  DVS_TRY(Channel second, make_channel());
  DVS_TRY(Child client, spawn_client(place_of(options, index, false), bodies, second.child.get()));
  second.child.close();
  return RunningPair{std::move(first.parent), std::move(second.parent), std::move(server),
                     std::move(client)};
}

}  // namespace

std::string_view name_of(Placement placement) noexcept {
  switch (placement) {
    case Placement::same_core: return "same_core";
    case Placement::two_cores: return "two_cores";
    case Placement::free: return "free";
  }
  return "unknown";
}

Result<std::vector<Samples>> run_pairs(const PairOptions& options,
                                       const std::function<Result<PairBodies>()>& make) {
  std::vector<RunningPair> running;
  for (int i = 0; i < options.pairs; ++i) {
    DVS_TRY(const PairBodies bodies, make());
    DVS_TRY(RunningPair pair, start_pair(options, i, bodies));
    running.push_back(std::move(pair));
  }
  std::vector<std::uint64_t> numbers;
  for (const RunningPair& pair : running) {
    DVS_TRY(const std::uint64_t number, read_number(pair.to_server.get()));
    numbers.push_back(number);
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    DVS_CHECK(write_number(running[i].to_client.get(), numbers[i]));
  }
  std::vector<Samples> samples;
  for (const RunningPair& pair : running) {
    DVS_TRY(Samples of_pair, read_samples(pair.to_client.get()));
    samples.push_back(std::move(of_pair));
  }
  return samples;
}

Samples joined(const std::vector<Samples>& of_pairs) {
  Samples all;
  for (const Samples& samples : of_pairs) all.insert(all.end(), samples.begin(), samples.end());
  return all;
}

Samples summed(const std::vector<Samples>& of_pairs) {
  if (of_pairs.empty()) return {};
  Samples sums = of_pairs.front();
  for (std::size_t i = 1; i < of_pairs.size(); ++i) {
    sums.resize(std::min(sums.size(), of_pairs[i].size()));
    for (std::size_t n = 0; n < sums.size(); ++n) sums[n] += of_pairs[i][n];
  }
  return sums;
}

double median(Samples samples) {
  if (samples.empty()) return 0;
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

}  // namespace bench
