// The state of the system group at this node: applied on the engine's thread, read on any.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "cluster/engine/engine.hpp"
#include "cluster/state/state.hpp"

namespace dvs::cluster {

// What an entry changed of nodes or views; all of it from one entry, or from a snapshot.
struct RosterNews {
  std::uint64_t index = 0;
  Roster roster;
  std::vector<NodeId> lost;  // declared lost by this entry, or gone from the cluster
};

class Replica final : public StateMachine {
 public:
  // `tell` is called on the engine's thread, in the order of the log.
  explicit Replica(std::function<void(RosterNews)> tell) : tell_(std::move(tell)) {}

  // Calls `read` with the state, which does not change meanwhile. Blocks for what is being applied.
  template <class Read>
  auto with_state(Read read) const {
    const std::scoped_lock lock(mutex_);
    return read(state_);
  }

  // StateMachine. The answer is an encoded Answer.
  Bytes apply(std::uint64_t index, BytesView entry) override;
  Bytes snapshot() override;
  Result<void> restore(std::uint64_t index, BytesView snapshot) override;

 private:
  std::function<void(RosterNews)> tell_;
  mutable std::mutex mutex_;
  State state_;
};

}  // namespace dvs::cluster
