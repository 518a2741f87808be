#include "runtime/event.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace dvs::runtime {

Result<Event> Event::create() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return fail_os("eventfd");
  return Event(std::move(fd));
}

void Event::signal() const noexcept {
  const int saved_errno = errno;
  const std::uint64_t one = 1;
  // EAGAIN means that the counter is full, so the descriptor is readable already.
  while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = saved_errno;
}

bool Event::drain() const noexcept {
  std::uint64_t count = 0;
  ssize_t got;
  do {
    got = ::read(fd_.get(), &count, sizeof count);
  } while (got < 0 && errno == EINTR);
  return got == sizeof count;
}

}  // namespace dvs::runtime
