// The short way to a peer on the same node: a ring each way and a bell each way.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <vector>

#include "dvk/core/conversation.hpp"
#include "dvk/grant/grant_table.hpp"
#include "dvk/lib/attachment.hpp"
#include "dvk/ring/ring.hpp"

namespace dvk::lib {

struct RingPath {
  // From the descriptors of a Route of kind ring. Adds the bell to `waiter`; the owner removes it.
  static Result<std::unique_ptr<RingPath>> create(const Address& peer, bool is_trusted,
                                                  std::vector<Fd>& fds, ring::Waiter& waiter);

  // Makes what was pushed visible and wakes the peer if it sleeps.
  void send_off() {
    out.publish();
    waker.wake();
    is_dirty = false;
  }

  Address peer;
  ring::RingProducer out;
  ring::RingConsumer in;
  ring::Waker waker;
  std::uint64_t bell = 0;
  // Trusted peers: for copies without the daemon.
  std::optional<grant::GrantView> grants;
  Fd pidfd;
  pid_t pid = 0;

  bool is_dirty = false;           // pushed and not sent off
  bool is_blocked = false;         // a push found no room
  std::uint64_t woken_credit = 0;  // credit published when the peer was last woken for it
  std::uint32_t woken_epoch = 0;
};

}  // namespace dvk::lib
