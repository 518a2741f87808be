// The clock of leases: it goes on while the machine sleeps.
#pragma once

#include <time.h>

#include "base/bytes.hpp"

namespace dvs::cluster {

inline TimePoint boot_time() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return TimePoint(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace dvs::cluster
