#include "dvk/ring/waiter.hpp"

#include <sched.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

namespace dvk::ring {

using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::TimePoint;
using dvs::runtime::Fd;
using std::chrono::nanoseconds;

namespace {

using Clock = std::chrono::steady_clock;
using Verdict = PhaseHabit::Verdict;

// Round trips between two processes over two rings, 64 bytes, on a virtual machine with two
// processors (Linux 6.18), beside a Unix stream socket in the same run, in microseconds:
//
//                                       same core    two cores    not pinned
//   medians: spinning                           -          0.3           0.4
//            giving way                         4          0.9             -
//            sleeping every time                6           50             6
//            Unix socket                       12           50            13
//   means, beside processes that never yield:
//            giving way every time           4300            -             -
//            as the waiter does it             25           15            20
//            Unix socket                       40          130            30
//
// So waiting awake is worth it for about as long as it costs to be woken on another core, 50 us: by
// that rule waiting never costs more than twice what it would with foresight.
constexpr nanoseconds spin_time_max{50'000};
constexpr nanoseconds give_way_time_max{50'000};
// A yield that took this long went to a process that wants the core for itself and used up its time
// slice (3 ms and more). Had we slept, our waker would have got the core back for us at once.
constexpr nanoseconds costly_yield{500'000};
// A wait that ended within this time might have ended while spinning or giving way, had we tried.
constexpr nanoseconds short_wait{200'000};
// Polls between two looks at the clock (about 20 ns).
constexpr int polls_per_clock = 8;
// Waits that end at once, between two looks at the descriptors (about 300 ns).
constexpr std::uint32_t waits_per_look = 64;
// Sleeps between two drainings of the bells, well below the 4096 bytes that a bell holds.
constexpr std::uint64_t sleeps_per_drain = 1024;

constexpr std::uint64_t bell_flag = std::uint64_t{1} << 63;
constexpr int events_max = 64;

// Tells the processor that this is a spin loop: saves power, and gives way to the other
// hyperthread.
inline void pause_processor() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

bool may_run_on_several_processors() noexcept {
  cpu_set_t set;
  // Fails on machines with more processors than the set holds: several, then.
  return ::sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) > 1;
}

// Waits for events until the deadline; the number of events, or -1 with errno.
int wait_for_events(int epoll, std::span<epoll_event> events, TimePoint deadline) noexcept {
  const int size = static_cast<int>(events.size());
  if (deadline == dvs::never) return ::epoll_wait(epoll, events.data(), size, -1);
  const TimePoint now = Clock::now();
  if (deadline <= now) return ::epoll_wait(epoll, events.data(), size, 0);
  const nanoseconds left = deadline - now;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec timeout{static_cast<time_t>(seconds.count()), (left - seconds).count()};
  const int count = ::epoll_pwait2(epoll, events.data(), size, &timeout, nullptr);
  if (count >= 0 || errno != ENOSYS) return count;
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return ::epoll_wait(epoll, events.data(), size,
                      static_cast<int>(std::min<std::int64_t>(milliseconds, INT_MAX)));
}

}  // namespace

// ---- PhaseHabit

bool PhaseHabit::wants() const noexcept {
  return !is_probing() || short_waits_ >= probe_interval_;
}

void PhaseHabit::record(Verdict verdict) noexcept {
  const bool was_probe = is_probing();
  score_ -= score_ / 8;
  if (verdict == Verdict::success) score_ += score_full / 8;
  if (verdict == Verdict::costly) score_ = 0;
  if (!was_probe && verdict != Verdict::costly) return;
  short_waits_ = 0;
  switch (verdict) {
    case Verdict::success:
      // Half the score and a little: two failures in a row end it again.
      score_ = score_full / 2 + score_full / 8;
      probe_interval_ = 1;
      return;
    case Verdict::failure:
      probe_interval_ = std::min(2 * probe_interval_, failure_interval_max);
      return;
    case Verdict::costly:
      probe_interval_ = std::clamp(2 * probe_interval_, costly_interval_min, costly_interval_max);
      return;
  }
}

// ---- Waiter

Result<Waiter> Waiter::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_os("epoll_create1");
  DVS_TRY(Doorbell doorbell, Doorbell::create());
  return Waiter(std::move(epoll), std::move(doorbell));
}

Waiter::Waiter(Fd epoll, Doorbell doorbell) noexcept
    : epoll_(std::move(epoll)),
      doorbell_(std::move(doorbell)),
      has_several_processors_(may_run_on_several_processors()) {}

Result<Waiter::Outcome> Waiter::wait(PollFunction poll, PollFunction poll_awake,
                                     TimePoint deadline) {
  if (++waits_since_look_ >= waits_per_look) {
    DVS_TRY(const bool has_events, look());
    if (has_events) return Outcome::descriptor;
  }
  if (poll()) return Outcome::ready;
  const TimePoint start = Clock::now();
  if (deadline <= start) {
    DVS_TRY(const bool has_events, look());
    return has_events ? Outcome::descriptor : Outcome::deadline;
  }
  const bool wants_to_give_way = giving_way_.wants();
  // On its only processor a thread rather gives way than spins: its peer may need that very one.
  if ((has_several_processors_ || !wants_to_give_way) && spinning_.wants() &&
      spin(poll_awake, start, deadline)) {
    return Outcome::ready;
  }
  if (wants_to_give_way && give_way(poll_awake, deadline)) return Outcome::ready;
  DVS_TRY(const Outcome outcome, sleep(poll, deadline));
  if (Clock::now() - start < short_wait) {
    spinning_.note_short_wait();
    giving_way_.note_short_wait();
  }
  return outcome;
}

bool Waiter::spin(PollFunction poll, TimePoint start, TimePoint deadline) {
  // Somewhat longer than usual is long enough, unless this is to find out what usual is.
  const nanoseconds budget =
      spinning_.is_probing() ? spin_time_max : std::min(3 * spin_time_, spin_time_max);
  const TimePoint end = std::min(deadline, start + budget);
  TimePoint now = start;
  do {
    for (int i = 0; i < polls_per_clock; ++i) {
      pause_processor();
      if (!poll()) continue;
      spin_time_ += (now - start - spin_time_) / 8;
      spin_time_ = std::max(spin_time_, nanoseconds(1000));
      spinning_.record(Verdict::success);
      return true;
    }
    now = Clock::now();
  } while (now < end);
  spinning_.record(Verdict::failure);
  return false;
}

bool Waiter::give_way(PollFunction poll, TimePoint deadline) {
  const TimePoint start = Clock::now();
  TimePoint before = start;
  for (;;) {
    ::sched_yield();
    const bool is_ready = poll();
    const TimePoint now = Clock::now();
    if (now - before >= costly_yield) {
      giving_way_.record(Verdict::costly);
      return is_ready;
    }
    const bool is_late = now - start >= give_way_time_max;
    if (is_ready || is_late || now >= deadline) {
      giving_way_.record(is_ready && !is_late ? Verdict::success : Verdict::failure);
      return is_ready;
    }
    before = now;
  }
}

Result<Waiter::Outcome> Waiter::sleep(PollFunction poll, TimePoint deadline) {
  for (;;) {
    doorbell_.arm();
    if (poll()) {
      doorbell_.disarm();
      return Outcome::ready;
    }
    auto has_events = collect(deadline);
    end_sleep();
    if (!has_events) return std::unexpected(std::move(has_events).error());
    if (*has_events) return Outcome::descriptor;
    if (poll()) return Outcome::ready;
    if (deadline != dvs::never && Clock::now() >= deadline) return Outcome::deadline;
  }
}

void Waiter::end_sleep() noexcept {
  doorbell_.disarm();
  if (doorbell_.sleeps() - drained_at_ < sleeps_per_drain) return;
  drained_at_ = doorbell_.sleeps();
  // Processors allowed may have changed, too; this is as good a time as any to look.
  has_several_processors_ = may_run_on_several_processors();
  drain_bells();
}

void Waiter::drain_bells() noexcept {
  // One read empties an honest peer's bell; what is beyond that is never needed.
  std::array<char, 8192> rubbish;
  for (const auto& [key, fd] : bells_) {
    [[maybe_unused]] const auto got = ::read(fd.get(), rubbish.data(), rubbish.size());
  }
}

Result<bool> Waiter::collect(TimePoint deadline) {
  waits_since_look_ = 0;
  ready_.clear();
  std::array<epoll_event, events_max> events;
  const int count = wait_for_events(epoll_.get(), events, deadline);
  if (count < 0 && errno == EINTR) return false;
  if (count < 0) return fail_os("epoll_pwait2");
  for (const auto& event : std::span(events).first(static_cast<std::size_t>(count))) {
    if ((event.data.u64 & bell_flag) == 0) ready_.push_back({event.data.u64, event.events});
  }
  return !ready_.empty();
}

Result<bool> Waiter::look() {
  return collect(TimePoint::min());
}

Result<void> Waiter::add(int fd, std::uint32_t events, std::uint64_t token) {
  return control(EPOLL_CTL_ADD, fd, events, token);
}

Result<void> Waiter::change(int fd, std::uint32_t events, std::uint64_t token) {
  return control(EPOLL_CTL_MOD, fd, events, token);
}

Result<void> Waiter::control(int operation, int fd, std::uint32_t events, std::uint64_t token) {
  if ((token & bell_flag) != 0) return fail(Errc::invalid_argument, "token too large");
  epoll_event event{events, {.u64 = token}};
  if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0) return fail_os("epoll_ctl");
  return {};
}

void Waiter::remove(int fd) noexcept {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

Result<std::uint64_t> Waiter::add_bell(Fd sleeper_end) {
  const std::uint64_t key = next_bell_++;
  epoll_event event{EPOLLIN | EPOLLET, {.u64 = bell_flag | key}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, sleeper_end.get(), &event) != 0) {
    return fail_os("epoll_ctl bell");
  }
  bells_.emplace(key, std::move(sleeper_end));
  return key;
}

void Waiter::remove_bell(std::uint64_t key) noexcept {
  const auto bell = bells_.find(key);
  if (bell == bells_.end()) return;
  // By hand, because an epoll set keeps what another process still has open.
  remove(bell->second.get());
  bells_.erase(bell);
}

}  // namespace dvk::ring
