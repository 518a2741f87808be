// How a thread waits for its rings, and for descriptors beside them, at the least cost.
//
// Three phases, each left out when it has not paid off lately:
//   1. spin: if the thread may run on more than one CPU, or giving way has turned out costly;
//   2. give way: a few sched_yield, which let a peer on the same core run and answer;
//   3. sleep: arm the doorbell, look once more, epoll until the deadline.
// The choice is learned from what happened before (see waiter.cpp for the numbers and why).
//
// One waiter belongs to one thread at a time. It owns the thread's doorbell and epoll set.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <map>
#include <span>
#include <type_traits>
#include <vector>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/ring/doorbell.hpp"
#include "runtime/fd.hpp"

namespace dvk::ring {

// A function object seen by reference, as a pair of words: no allocation, no template in the
// waiter.
class PollFunction {
 public:
  template <class F>
    requires(std::is_invocable_r_v<bool, F&> && std::is_class_v<std::remove_cvref_t<F>> &&
             !std::is_same_v<std::remove_cvref_t<F>, PollFunction>)
  PollFunction(F&& function) noexcept  // NOLINT(google-explicit-constructor)
      : object_(const_cast<void*>(static_cast<const void*>(&function))),
        call_([](void* object) -> bool {
          return (*static_cast<std::remove_reference_t<F>*>(object))();
        }) {}

  bool operator()() const { return call_(object_); }

 private:
  void* object_;
  bool (*call_)(void*);
};

// Whether a phase of waiting pays off, learned from its outcomes. Pure.
class PhaseHabit {
 public:
  // Yes while the phase mostly succeeds. Once it does not, it is probed now and then, ever more
  // rarely, and only after waits that were so short that it might have succeeded.
  bool wants() const noexcept;
  enum class Verdict {
    success,  // what was waited for came
    failure,  // it did not, or not in time
    costly,   // the attempt cost a thousand times what success saves
  };
  // Whether it has not been succeeding lately, so that doing it is a probe.
  bool is_probing() const noexcept { return score_ < score_full / 2; }
  // How the phase ended, when it was done.
  void record(Verdict verdict) noexcept;
  // A wait ended soon although (or because) the phase was left out.
  void note_short_wait() noexcept { ++short_waits_; }

 private:
  static constexpr std::uint32_t score_full = 65536;
  // Short waits from one probe to the next. They double with each failure up to a limit at which
  // probing costs less than a tenth of a wait.
  static constexpr std::uint32_t failure_interval_max = 256;
  static constexpr std::uint32_t costly_interval_min = 1024;
  static constexpr std::uint32_t costly_interval_max = 16384;

  std::uint32_t score_ = score_full;  // moving average of success
  std::uint32_t short_waits_ = 0;     // since the last probe
  std::uint32_t probe_interval_ = 1;
};

class Waiter {
 public:
  static dvs::Result<Waiter> create();

  enum class Outcome {
    ready,       // the poll function returned true
    descriptor,  // some added descriptor has something: see events()
    deadline,
  };
  // A descriptor with something to say: the token it was added with, and the epoll events.
  struct Event {
    std::uint64_t token;
    std::uint32_t events;
  };

  // Waits until `poll` returns true, a descriptor has something, or the deadline has passed
  // (`never` for no limit, a time in the past for a mere look). `poll` must be cheap, free of side
  // effects, and must not block; it is called many times. Descriptors are looked at before the
  // rings now and then even if the rings never fall silent, so neither starves. Errors: system.
  dvs::Result<Outcome> wait(PollFunction poll, dvs::TimePoint deadline) {
    return wait(poll, poll, deadline);
  }
  // The same for who reads descriptors of the set itself while it is awake, a system call each:
  // `poll_awake` looks at what `poll` does and at them. Before a sleep `poll` is enough, as the
  // kernel looks at descriptors then.
  dvs::Result<Outcome> wait(PollFunction poll, PollFunction poll_awake, dvs::TimePoint deadline);
  // What the last wait or look found, if its outcome was descriptor. Valid until the next.
  std::span<const Event> events() const noexcept { return ready_; }

  // Watches a descriptor, which must stay open until remove(). `events` as in epoll_ctl(2). Tokens
  // are the caller's, below 2^63. Errors: invalid_argument, system.
  dvs::Result<void> add(int fd, std::uint32_t events, std::uint64_t token);
  dvs::Result<void> change(int fd, std::uint32_t events, std::uint64_t token);
  void remove(int fd) noexcept;

  // The page to hand to peers, so that they can attach a Waker.
  int page_fd() const noexcept { return doorbell_.page_fd(); }
  // Takes the sleeper's end of a bell. The key is for remove_bell, when the peer is gone.
  dvs::Result<std::uint64_t> add_bell(dvs::runtime::Fd sleeper_end);
  void remove_bell(std::uint64_t key) noexcept;

  // For a thread that sleeps elsewhere, in an event loop of its own: watch epoll_fd() there for
  // being readable. Before each sleep: begin_sleep(), look at the rings, sleep only if they are
  // empty. After it: end_sleep(), look(), look at the rings.
  int epoll_fd() const noexcept { return epoll_.get(); }
  void begin_sleep() noexcept { doorbell_.arm(); }
  void end_sleep() noexcept;
  // Collects what descriptors have to say, without waiting. True: see events(). Errors: system.
  dvs::Result<bool> look();

 private:
  Waiter(dvs::runtime::Fd epoll, Doorbell doorbell) noexcept;

  bool spin(PollFunction poll, dvs::TimePoint start, dvs::TimePoint deadline);
  bool give_way(PollFunction poll, dvs::TimePoint deadline);
  dvs::Result<Outcome> sleep(PollFunction poll, dvs::TimePoint deadline);
  dvs::Result<bool> collect(dvs::TimePoint deadline);
  void drain_bells() noexcept;
  dvs::Result<void> control(int operation, int fd, std::uint32_t events, std::uint64_t token);

  dvs::runtime::Fd epoll_;
  Doorbell doorbell_;
  std::map<std::uint64_t, dvs::runtime::Fd> bells_;
  std::uint64_t next_bell_ = 0;
  std::uint64_t drained_at_ = 0;  // the doorbell's sleeps() when the bells were last read empty
  std::vector<Event> ready_;
  std::uint32_t waits_since_look_ = 0;
  bool has_several_processors_;
  std::chrono::nanoseconds spin_time_{5000};  // moving average of how long successful spins took
  PhaseHabit spinning_;
  PhaseHabit giving_way_;
};

}  // namespace dvk::ring
