// Until when a call may block.
#pragma once

#include <dvs/bytes.hpp>

namespace dvk {

// Made from a duration (from now on), a time point, or nothing (no limit). Deadline::now() never
// blocks: a call that cannot end at once returns would_block.
class Deadline {
 public:
  constexpr Deadline() = default;
  template <class Rep, class Period>
  Deadline(std::chrono::duration<Rep, Period> from_now)  // NOLINT(google-explicit-constructor)
      : at_(std::chrono::steady_clock::now() + from_now) {}
  constexpr Deadline(dvs::TimePoint at) : at_(at) {}  // NOLINT(google-explicit-constructor)

  static constexpr Deadline now() { return dvs::TimePoint::min(); }

  constexpr dvs::TimePoint at() const { return at_; }
  constexpr bool is_now() const { return at_ == dvs::TimePoint::min(); }

 private:
  dvs::TimePoint at_ = dvs::never;
};

}  // namespace dvk
