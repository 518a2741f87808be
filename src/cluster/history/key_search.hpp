// The search for an order of the operations on one key. See linearizability.hpp.
//
// A configuration is the set of operations that have been given a place, and the value that leaves.
// The operations that may come next are those invoked before the first return among those that
// still need a place. Three things keep the number of configurations small without losing an order:
// * An operation that only looks, and sees what it should, is placed at once: in any order that has
//   it later, it can be moved to here.
// * An operation whose outcome is unknown is placed only right before one that needs what it
//   writes: in any order that has it earlier, it can be moved to there, or left out.
// * A configuration is searched once. The set is remembered as 128 bits that each operation flips
//   in its own way (Zobrist, 1970): two different sets meet with a probability of about 2^-100,
//   and the bits of a set of 100,000 operations need not be kept for each of 100,000 sets.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_set>
#include <vector>

#include "cluster/history/history.hpp"
#include "cluster/history/linearizability.hpp"

namespace dvs::cluster {

// An operation with its values as numbers: 0 is "there is no such setting".
struct KeyOperation {
  OperationKind kind{};
  OperationOutcome outcome{};
  std::uint32_t expected = 0;
  std::uint32_t value = 0;
  std::int64_t invoked = 0;
  std::int64_t returned = 0;
};

class KeySearch {
 public:
  KeySearch(std::vector<KeyOperation> operations, std::uint64_t configurations_max);

  Verdict run();
  // Of the search's deepest point: how many operations had a place, and which of those that still
  // needed one returned first.
  std::size_t placed_most() const { return placed_most_; }
  std::size_t stuck_at() const { return stuck_at_; }

 private:
  struct Configuration {
    std::uint64_t low = 0, high = 0, value = 0;
    friend bool operator==(const Configuration&, const Configuration&) = default;
  };
  struct ConfigurationHash {
    std::size_t operator()(const Configuration& configuration) const {
      return configuration.low ^ configuration.value * 0x9E3779B97F4A7C15U;
    }
  };
  struct Placed {
    std::uint32_t operation;
    std::uint32_t value_before;
    bool has_alternatives;
  };

  struct Needs {
    std::vector<std::uint32_t> values;  // ascending
    bool any_other = false;             // any value but the present one would do
  };

  bool is_unknown(std::uint32_t operation) const {
    return operations_[operation].outcome == OperationOutcome::unknown;
  }
  bool is_allowed(std::uint32_t operation) const;
  bool only_looks(std::uint32_t operation) const;
  std::uint32_t value_after(std::uint32_t operation) const;
  Needs needs(std::int64_t latest) const;
  bool is_useful(std::uint32_t unknown, const Needs& needs) const;

  void build_lists();
  void unlink(std::uint32_t entry);
  void relink(std::uint32_t entry);
  std::int64_t horizon() const;
  bool try_place(std::uint32_t operation, bool has_alternatives);
  std::optional<std::uint32_t> one_that_looks() const;
  bool place_from(std::uint32_t entry);
  bool place_unknown_from(std::uint32_t entry);
  bool step_back();
  void flip(std::uint32_t operation);
  void note_depth();

  std::vector<KeyOperation> operations_;
  std::uint64_t configurations_max_;
  // Entries: i is the invocation of operation i, count + i its return; 2 * count and 2 * count + 1
  // are the heads of two circular lists: invocations and returns of operations with a known outcome
  // by time, and invocations of those with an unknown one.
  std::vector<std::uint32_t> next_, previous_;
  std::uint32_t count_, known_head_, unknown_head_;
  std::vector<Placed> placed_;
  Configuration now_;
  std::unordered_set<Configuration, ConfigurationHash> seen_;
  std::size_t placed_most_ = 0;
  std::size_t stuck_at_ = 0;
};

}  // namespace dvs::cluster
