// How a process that sleeps is woken by peers that it does not trust, and that do not trust it.
//
// The sleeper owns a doorbell: a page with one word that says whether it sleeps, and in which sleep
// it is. The page is sealed so that only the sleeper can ever write it; every peer maps it
// read-only. For each peer there is one bell: a pipe of which the sleeper holds the reading end (in
// its epoll set, edge triggered, so nothing is read on the way) and the peer the writing end. A
// waker that has published something looks at the word, and writes one byte to its bell if it has
// not yet done so in this sleep.
//
//   waker:    publish record; full fence; read word; asleep and not rung in this sleep? write the
//   bell sleeper:  write "asleep"; full fence; look at the rings again; nothing there? epoll_wait
//
// The fences order each side's store before its load, so at least one of the two sees the other.
//
// What a hostile peer can do: ring for nothing, or not ring for its own messages. It cannot silence
// another peer's bell, because it can neither write the word nor touch that pipe; and it cannot
// make its waker block or die. That is why the word is not in memory that peers write (a waker
// would clear it for the others), and why the bells are not one eventfd: whoever holds an eventfd
// can read it empty, fill it to the brim and turn off its non-blocking flag for all who share it.
#pragma once

#include <cstdint>

#include <dvs/result.hpp>

#include "runtime/fd.hpp"
#include "runtime/memory.hpp"

namespace dvk::ring {

struct DoorbellPage;

// The two ends of one bell. To be made by whom both sides trust (the daemon that brokers the
// rings): the ends are separate open files, so what one side does to its flags does not reach the
// other.
struct Bell {
  dvs::runtime::Fd sleeper;
  dvs::runtime::Fd waker;
};
// Needs /proc. Errors: system.
dvs::Result<Bell> create_bell();

// The sleeper's side. One thread at a time.
class Doorbell {
 public:
  static dvs::Result<Doorbell> create();

  // The page, to be handed to every peer. Stays the doorbell's.
  int page_fd() const noexcept { return memory_.fd.get(); }

  // From here on wakers ring. The caller must look at its rings once more before it sleeps.
  void arm() noexcept;
  // No more ringing. Bells that were rung meanwhile show up as a spurious wake-up later.
  void disarm() noexcept;
  // How often arm() has been called: a waker rings at most once each time.
  std::uint64_t sleeps() const noexcept { return sleeps_; }

 private:
  explicit Doorbell(dvs::runtime::PublishedMemory memory) noexcept;

  dvs::runtime::PublishedMemory memory_;
  DoorbellPage* page_;
  std::uint64_t sleeps_ = 0;
};

// The waker's side: one per peer, for all rings that lead to it. One thread at a time.
class Waker {
 public:
  // `page` is the sleeper's page (not needed afterwards), `bell` the waker's end of the bell of the
  // two. Errors: invalid_argument (not such a page, not a pipe), system.
  static dvs::Result<Waker> attach(int page, dvs::runtime::Fd bell);

  // After publishing: wakes the peer if it sleeps. Never blocks. True if the bell was written.
  bool wake() noexcept;

 private:
  Waker(dvs::runtime::Mapping mapping, dvs::runtime::Fd bell) noexcept;

  dvs::runtime::Mapping mapping_;
  const DoorbellPage* page_;
  dvs::runtime::Fd bell_;
  std::uint64_t rung_ = 0;  // the sleep in which the bell was written last
};

}  // namespace dvk::ring
