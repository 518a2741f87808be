// The times of the membership, and the one inequality that its safety rests on.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/bytes.hpp"

namespace dvs::cluster {

struct MembershipSettings {
  Duration heartbeat = std::chrono::milliseconds(100);
  // Silent for that long: other ways to the node are tried.
  Duration suspect = std::chrono::milliseconds(500);
  // Silent for that long, by the leader's clock: the node may be left out of the view.
  Duration view_lease = std::chrono::milliseconds(800);
  // A node out of view that was heard for that long without such a gap comes back.
  Duration stable = std::chrono::milliseconds(300);
  // Out of view and silent for that long: lost.
  Duration lost_after = std::chrono::seconds(10);
  // How much faster or slower than true time a clock may run, in millionths.
  std::uint32_t drift_ppm = 500;
  // Before its lease ends a node begins to freeze; that long it may take.
  Duration freeze_margin = std::chrono::milliseconds(50);
  // The owner calls tick() at least that often.
  Duration tick = std::chrono::milliseconds(20);
};

// How long a holder may rely on a grant, by its own clock, from the sending of the heartbeat that
// was granted.
//
// The leader counts view_lease from when it received that heartbeat, which is later than when it
// was sent. With clocks that run at rates within 1 - d .. 1 + d of true time, the holder stops at
// the latest holder_lease / (1 - d) of true time after the sending, and the leader proposes at the
// earliest view_lease / (1 + d) of true time after it. So the holder stops first if
//
//   holder_lease <= view_lease * (1 - d) / (1 + d)
constexpr Duration holder_lease(const MembershipSettings& settings) {
  constexpr std::int64_t million = 1'000'000;
  const std::int64_t drift = settings.drift_ppm;
  return settings.view_lease * (million - drift) / (million + drift);  // rounded down
}

}  // namespace dvs::cluster
