// See attached_process.hpp.
#include "dvk/daemon/attached_process.hpp"

#include <fcntl.h>

#include <algorithm>

#include "dvk/ring/layout.hpp"
#include "runtime/memory.hpp"

namespace dvk::daemon {

using dvs::BytesView;
using dvs::Errc;
using dvs::fail;
using dvs::Result;
using dvs::TimePoint;
using dvs::runtime::Fd;

namespace {

// Generous for a library, which asks once per peer.
constexpr double control_burst = 512;
constexpr double control_per_second = 2000;

}  // namespace

bool RateLimit::take(TimePoint now) {
  const std::chrono::duration<double> passed = now - filled_at_;
  tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
  filled_at_ = now;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

TimePoint RateLimit::next_at(TimePoint now) const {
  const std::chrono::duration<double> wait((1 - std::min(tokens_, 1.0)) / per_second_);
  return now + std::chrono::ceil<std::chrono::milliseconds>(wait);
}

AttachedProcess::AttachedProcess(Handle handle, dvs::ContainerId container, Fd socket,
                                 const dvs::runtime::PeerCredentials& credentials, Fd pidfd,
                                 TimePoint now)
    : control_rate(control_burst, control_per_second, now),
      close_at(dvs::never),
      handle_(handle),
      container_(container),
      socket_(std::move(socket)),
      credentials_(credentials),
      pidfd_(share(std::move(pidfd))) {}

Result<void> AttachedProcess::take_descriptors(std::vector<Fd> fds) {
  if (fds.size() != 2) {
    return fail(Errc::invalid_argument, "hello needs two descriptors: doorbell page, grant table");
  }
  DVS_TRY(const std::size_t page_bytes, dvs::runtime::shared_memory_size(fds[0].get()));
  if (page_bytes != ring::doorbell_page_bytes) {
    return fail(Errc::invalid_argument, "descriptor 0 of hello is no doorbell page");
  }
  DVS_TRY(grant::GrantView grants, grant::GrantView::attach(fds[1].get()));
  doorbell_page_ = share(std::move(fds[0]));
  grants_page_ = share(std::move(fds[1]));
  grants_.emplace(std::move(grants));
  return {};
}

Result<std::vector<SharedFd>> AttachedProcess::make_rings(ring::Waiter& waiter,
                                                          std::size_t ring_bytes) {
  release_rings(waiter);
  DVS_TRY(Fd to_daemon, ring::create_ring(ring_bytes));
  DVS_TRY(Fd from_daemon, ring::create_ring(ring_bytes));
  DVS_TRY(auto inward, ring::Memory::map(to_daemon.get()));
  DVS_TRY(auto outward, ring::Memory::map(from_daemon.get()));
  DVS_TRY(ring::Bell daemon_bell, ring::create_bell());
  DVS_TRY(ring::Bell process_bell, ring::create_bell());
  DVS_TRY(ring::Waker waker,
          ring::Waker::attach(doorbell_page_->get(), std::move(process_bell.waker)));
  Fd daemon_page(::fcntl(waiter.page_fd(), F_DUPFD_CLOEXEC, 0));
  if (!daemon_page) return dvs::fail_os("duplicating the doorbell page");
  DVS_TRY(const std::uint64_t bell, waiter.add_bell(std::move(daemon_bell.sleeper)));
  rings_.emplace(Rings{ring::RingConsumer(std::move(inward)),
                       ring::RingProducer(std::move(outward)), std::move(waker), bell});
  return std::vector<SharedFd>{share(std::move(to_daemon)), share(std::move(from_daemon)),
                               share(std::move(daemon_page)), share(std::move(daemon_bell.waker)),
                               share(std::move(process_bell.sleeper))};
}

void AttachedProcess::release_rings(ring::Waiter& waiter) {
  if (!rings_) return;
  waiter.remove_bell(rings_->bell);
  rings_->from_process.close();
  rings_->to_process.close();
  rings_.reset();
  results_.clear();
}

Result<bool> AttachedProcess::push(const wire::PacketHeader& header, BytesView payload) {
  if (!rings_ || !results_.empty()) return false;
  return rings_->to_process.push(
      BytesView(reinterpret_cast<const std::byte*>(&header), sizeof header), payload);
}

Result<void> AttachedProcess::push_result(const wire::PacketHeader& header, BytesView payload) {
  if (!rings_) return {};
  DVS_TRY(const bool is_pushed, push(header, payload));
  if (!is_pushed) results_.push_back(wire::encode_packet(header, payload));
  return {};
}

Result<bool> AttachedProcess::push_waiting_results() {
  bool has_pushed = false;
  while (rings_ && !results_.empty()) {
    DVS_TRY(const bool is_pushed, rings_->to_process.push(results_.front()));
    if (!is_pushed) break;
    results_.pop_front();
    has_pushed = true;
  }
  return has_pushed;
}

void AttachedProcess::publish() {
  if (!rings_) return;
  rings_->to_process.publish();
  rings_->waker.wake();
}

Result<const ProcessMemory*> AttachedProcess::memory() {
  if (!memory_) {
    DVS_TRY(ProcessMemory memory, ProcessMemory::open(pidfd_->get(), credentials_.uid));
    memory_.emplace(std::move(memory));
  }
  return &*memory_;
}

}  // namespace dvk::daemon
