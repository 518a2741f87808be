#include "dvk/lib/ring_path.hpp"

#include "runtime/process_memory.hpp"

namespace dvk::lib {

Result<std::unique_ptr<RingPath>> RingPath::create(const Address& peer, bool is_trusted,
                                                   std::vector<Fd>& fds, ring::Waiter& waiter) {
  if (fds.size() < (is_trusted ? 7U : 5U)) {
    return dvs::fail(Errc::protocol_violation, "ring route without its descriptors");
  }
  DVS_TRY(auto out, ring::Memory::map(fds[0].get()));
  DVS_TRY(auto in, ring::Memory::map(fds[1].get()));
  DVS_TRY(auto waker, ring::Waker::attach(fds[2].get(), std::move(fds[3])));
  DVS_TRY(const std::uint64_t bell, waiter.add_bell(std::move(fds[4])));
  auto path = std::unique_ptr<RingPath>(new RingPath{.peer = peer,
                                                     .out = ring::RingProducer(std::move(out)),
                                                     .in = ring::RingConsumer(std::move(in)),
                                                     .waker = std::move(waker),
                                                     .bell = bell,
                                                     .grants = {},
                                                     .pidfd = {}});
  if (is_trusted) {
    DVS_TRY(path->grants, grant::GrantView::attach(fds[5].get()));
    path->pidfd = std::move(fds[6]);
    path->pid = dvs::runtime::pid_of(path->pidfd.get()).value_or(0);
  }
  return path;
}

}  // namespace dvk::lib
