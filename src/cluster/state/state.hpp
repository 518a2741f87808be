// The replicated state machine of the cluster's system group.
//
// Its input is the log of that group; the same log makes the same state, the same answers and the
// same events at every replica, whatever the machine, the time and what was asked in between. It
// does no I/O and reads no clock. One thread at a time.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "cluster/state/authorities.hpp"
#include "cluster/state/command.hpp"
#include "cluster/state/event_history.hpp"
#include "cluster/state/limits.hpp"
#include "cluster/state/roster.hpp"
#include "cluster/state/sessions.hpp"
#include "cluster/state/settings.hpp"

namespace dvs::cluster {

class State {
 public:
  explicit State(const Limits& limits = {})
      : limits_(limits),
        sessions_(limits),
        settings_(limits),
        authorities_(limits),
        history_(limits, 0) {}

  // Applies the entry at `index`, which is greater than all before; indexes may be left out (the
  // engine's own entries have some). Whatever the entry holds, the answer says what became of it.
  Answer apply(std::uint64_t index, BytesView entry);
  std::uint64_t applied() const { return applied_; }

  // Reads. What they say holds as of the entry `applied()`.
  const Settings& settings() const { return settings_; }
  const Roster& roster() const { return roster_; }
  const View& view() const { return roster_.view(); }
  const Authorities& authorities() const { return authorities_; }

  // A watch: read, remember `applied()`, and from then on ask for the events after it. See
  // EventHistory::after; prefixes are of subjects (event.hpp). Errors: compacted (begin anew with a
  // read).
  Result<EventPage> events_after(std::uint64_t index, std::string_view subject_prefix,
                                 std::size_t events_max) const {
    return history_.after(index, subject_prefix, events_max);
  }

  // The whole state but for the history. Equal states have equal snapshots, byte for byte.
  Bytes snapshot() const;
  // `limits` must be those of the replica that made it. Errors: version_mismatch,
  // protocol_violation.
  static Result<State> restore(BytesView snapshot, const Limits& limits = {});
  // Of the snapshot: for comparing replicas. It costs as much as a snapshot. Finds mistakes, not
  // attacks.
  std::uint64_t fingerprint() const;

 private:
  Answer decide(std::uint64_t index, BytesView entry);
  Outcome execute(std::uint64_t index, const Command& command);
  struct Executor;

  Limits limits_;
  std::uint64_t applied_ = 0;
  Sessions sessions_;
  Settings settings_;
  Roster roster_;
  Authorities authorities_;
  EventHistory history_;
};

}  // namespace dvs::cluster
