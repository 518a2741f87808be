#include "dvk/ring/doorbell.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "dvk/ring/fence.hpp"
#include "dvk/ring/layout.hpp"

namespace dvk::ring {

using dvs::Errc;
using dvs::fail;
using dvs::fail_os;
using dvs::Result;
using dvs::runtime::Access;
using dvs::runtime::Fd;
using dvs::runtime::Mapping;
using dvs::runtime::PublishedMemory;

Result<Bell> create_bell() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return fail_os("pipe2");
  Fd sleeper(ends[0]);
  const Fd writer(ends[1]);
  // The waker gets an open file of its own, for reading too: so the pipe never lacks a reader, and
  // a sleeper that goes away cannot kill its waker with SIGPIPE.
  const std::string path = "/proc/self/fd/" + std::to_string(writer.get());
  Fd waker(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!waker) return fail_os("open " + path);
  // One page holds more bells than are rung between two drainings (Waiter). The limit that the
  // kernel sets to a user's pipes counts pages. Refused or not, the pipe works.
  ::fcntl(waker.get(), F_SETPIPE_SZ, 4096);
  return Bell{std::move(sleeper), std::move(waker)};
}

Result<Doorbell> Doorbell::create() {
  DVS_TRY(PublishedMemory memory,
          dvs::runtime::create_published_memory("dvk-doorbell", doorbell_page_bytes));
  return Doorbell(std::move(memory));
}

Doorbell::Doorbell(PublishedMemory memory) noexcept
    : memory_(std::move(memory)), page_(reinterpret_cast<DoorbellPage*>(memory_.mapping.data())) {}

void Doorbell::arm() noexcept {
  ++sleeps_;
  page_->sleep.store(2 * sleeps_ + 1, std::memory_order_relaxed);
  full_fence();
}

void Doorbell::disarm() noexcept {
  page_->sleep.store(2 * sleeps_, std::memory_order_relaxed);
}

Result<Waker> Waker::attach(int page, Fd bell) {
  DVS_TRY(Mapping mapping, Mapping::map(page, doorbell_page_bytes, Access::read_only));
  struct stat status {};
  if (::fstat(bell.get(), &status) != 0) return fail_os("fstat bell");
  if (!S_ISFIFO(status.st_mode)) return fail(Errc::invalid_argument, "not a bell");
  return Waker(std::move(mapping), std::move(bell));
}

Waker::Waker(Mapping mapping, Fd bell) noexcept
    : mapping_(std::move(mapping)),
      page_(reinterpret_cast<const DoorbellPage*>(mapping_.data())),
      bell_(std::move(bell)) {}

bool Waker::wake() noexcept {
  full_fence();
  const std::uint64_t sleep = page_->sleep.load(std::memory_order_relaxed);
  if (sleep % 2 == 0 || sleep == rung_) return false;
  rung_ = sleep;
  const int saved_errno = errno;
  // A full pipe means that the sleeper does not empty it as it should: its own loss.
  const char ring = 0;
  while (::write(bell_.get(), &ring, 1) < 0 && errno == EINTR) {
  }
  errno = saved_errno;
  return true;
}

}  // namespace dvk::ring
