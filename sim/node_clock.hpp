// A node's clock: steady, but it neither began when the others did nor runs exactly as fast.
#pragma once

#include <cstdint>

#include "sim/scheduler.hpp"

namespace sim {

class NodeClock {
 public:
  // `drift_ppm`: how much faster than the world, in millionths. Good for 30 days of simulated time.
  explicit NodeClock(Duration offset = {}, std::int64_t drift_ppm = 0)
      : offset_(offset), drift_ppm_(drift_ppm) {}

  dvs::TimePoint local(Instant when) const {
    const auto elapsed = when.time_since_epoch();
    return dvs::TimePoint(offset_ + elapsed + scale(elapsed, drift_ppm_, million));
  }
  // The first instant at which the clock shows `when` or more; end_of_time for `never`.
  Instant world(dvs::TimePoint when) const {
    if (when == dvs::never) return end_of_time;
    const Duration shown = when.time_since_epoch() - offset_;
    if (shown <= Duration::zero()) return Instant{};
    if (shown > Duration(std::chrono::hours(24 * 30))) return end_of_time;
    Instant instant{scale(shown, million, million + drift_ppm_)};
    while (local(instant) < when) instant += Duration(1);
    return instant;
  }
  // So much on this clock, as the world measures it.
  Duration world(Duration shown) const { return scale(shown, million, million + drift_ppm_); }

 private:
  static constexpr std::int64_t million = 1'000'000;
  static Duration scale(Duration value, std::int64_t numerator, std::int64_t denominator) {
    return Duration(
        static_cast<Duration::rep>(static_cast<__int128>(value.count()) * numerator / denominator));
  }

  Duration offset_;
  std::int64_t drift_ppm_;
};

}  // namespace sim
