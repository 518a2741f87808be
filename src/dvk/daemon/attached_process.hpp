// One connection on the attach socket: what the kernel says of the process behind it, the
// descriptors it handed over (checked), and its pair of rings.
//
// Nothing here believes the process; whatever it does wrong is an error that ends this connection
// and touches no other. Owned by AttachServer.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "dvk/daemon/control_queue.hpp"
#include "dvk/daemon/process_memory_access.hpp"
#include "dvk/grant/grant_table.hpp"
#include "dvk/node/output.hpp"
#include "dvk/ring/doorbell.hpp"
#include "dvk/ring/ring.hpp"
#include "dvk/ring/waiter.hpp"
#include "runtime/unix_socket.hpp"

namespace dvk::daemon {

using node::Handle;

// How often something may happen: `burst` at once, `per_second` in the long run.
class RateLimit {
 public:
  RateLimit(double burst, double per_second, dvs::TimePoint now)
      : burst_(burst), per_second_(per_second), tokens_(burst), filled_at_(now) {}
  // False: not now; see next_at.
  bool take(dvs::TimePoint now);
  dvs::TimePoint next_at(dvs::TimePoint now) const;

 private:
  double burst_, per_second_, tokens_;
  dvs::TimePoint filled_at_;
};

class AttachedProcess {
 public:
  enum class State : std::uint8_t {
    greeting,  // no Hello yet
    waiting,   // Hello taken, no Welcome yet
    attached,  // has rings
    refused,   // to be closed once Refused has left
  };

  AttachedProcess(Handle handle, dvs::ContainerId container, dvs::runtime::Fd socket,
                  const dvs::runtime::PeerCredentials& credentials, dvs::runtime::Fd pidfd,
                  dvs::TimePoint now);

  Handle handle() const { return handle_; }
  dvs::ContainerId container() const { return container_; }
  std::uint32_t uid() const { return credentials_.uid; }
  pid_t pid() const { return credentials_.pid; }
  int socket() const { return socket_.get(); }
  const dvs::Address& address() const { return address_; }
  // After a promotion or a Welcome.
  void set_address(const dvs::Address& address) { address_ = address; }

  // Takes the descriptors of Hello. Errors: invalid_argument (wrong number or kind), system.
  dvs::Result<void> take_descriptors(std::vector<dvs::runtime::Fd> fds);
  // Makes a fresh pair of rings and bells; those before are forgotten. Returns what travels with
  // Welcome. Errors: system, invalid_argument.
  dvs::Result<std::vector<SharedFd>> make_rings(ring::Waiter& waiter, std::size_t ring_bytes);
  // Gives back what the waiter holds.
  void release_rings(ring::Waiter& waiter);
  bool has_rings() const { return rings_.has_value(); }

  // --- The ring from the process; only with rings ---
  ring::RingConsumer& consumer() { return rings_->from_process; }
  bool is_ready() const { return rings_ && rings_->from_process.is_ready() && has_result_room(); }

  // --- The ring to the process ---
  // False: no rings, or no room. The record becomes visible by publish.
  dvs::Result<bool> push(const wire::PacketHeader& header, dvs::BytesView payload);
  // As push, but waits for room.
  dvs::Result<void> push_result(const wire::PacketHeader& header, dvs::BytesView payload);
  // Pushes results that wait. True: some were.
  dvs::Result<bool> push_waiting_results();
  bool has_waiting_results() const { return !results_.empty(); }
  bool can_push_results() const { return !results_.empty() && rings_->to_process.has_room_now(); }
  // Asks to be woken for room, before sleeping. False: there is room.
  bool request_room() { return rings_->to_process.request_room(); }
  // At the end of a turn: one publish and at most one wake for all that was pushed, or for room
  // given back.
  void publish();

  // --- For others ---
  SharedFd doorbell_page() const { return doorbell_page_; }
  SharedFd grants_page() const { return grants_page_; }
  SharedFd pidfd() const { return pidfd_; }
  const grant::GrantView& grants() const { return *grants_; }
  // The process's memory, opened when first needed. Errors: as ProcessMemory::open.
  dvs::Result<const ProcessMemory*> memory();

  // --- Bookkeeping of AttachServer ---
  State state = State::greeting;
  ControlQueue queue;
  RateLimit control_rate;
  dvs::TimePoint close_at;                // `never` unless a Hello, or the end, is awaited
  dvs::TimePoint resume_at = dvs::never;  // control messages are not read before; never: they are
  bool is_watching_writable = false;
  bool is_counted = false;  // among the endpoints of its container
  bool is_dirty = false;    // in the list of those to publish
  bool is_doomed = false;   // will be closed when the core is not busy

 private:
  // With so many results waiting for room, no further packet is taken from the process.
  static constexpr std::size_t results_soft_max = 256;
  bool has_result_room() const { return results_.size() < results_soft_max; }

  struct Rings {
    ring::RingConsumer from_process;
    ring::RingProducer to_process;
    ring::Waker waker;
    std::uint64_t bell = 0;
  };

  Handle handle_;
  dvs::ContainerId container_;
  dvs::runtime::Fd socket_;
  dvs::runtime::PeerCredentials credentials_;
  SharedFd pidfd_;
  dvs::Address address_{};
  SharedFd doorbell_page_;
  SharedFd grants_page_;
  std::optional<grant::GrantView> grants_;
  std::optional<ProcessMemory> memory_;
  std::optional<Rings> rings_;
  std::deque<dvs::Bytes> results_;
};

}  // namespace dvk::daemon
