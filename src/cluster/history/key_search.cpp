#include "cluster/history/key_search.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace dvs::cluster {
namespace {

// SplitMix64's output function (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

}  // namespace

KeySearch::KeySearch(std::vector<KeyOperation> operations, std::uint64_t configurations_max)
    : operations_(std::move(operations)),
      configurations_max_(configurations_max),
      count_(static_cast<std::uint32_t>(operations_.size())),
      known_head_(2 * count_),
      unknown_head_(2 * count_ + 1) {
  build_lists();
}

void KeySearch::build_lists() {
  next_.resize(2 * std::size_t{count_} + 2);
  previous_.resize(next_.size());
  const auto time_of = [&](std::uint32_t entry) {
    return entry < count_ ? operations_[entry].invoked : operations_[entry - count_].returned;
  };
  std::vector<std::uint32_t> entries(2 * std::size_t{count_});
  std::iota(entries.begin(), entries.end(), 0U);
  // Invocations before returns of the same time: those two overlap.
  std::ranges::sort(entries, {}, [&](std::uint32_t entry) {
    return std::tuple(time_of(entry), entry >= count_, entry);
  });
  for (const std::uint32_t head : {known_head_, unknown_head_})
    next_[head] = previous_[head] = head;
  for (const std::uint32_t entry : entries) {
    const bool is_return = entry >= count_;
    const bool has_unknown_outcome = is_unknown(is_return ? entry - count_ : entry);
    if (is_return && has_unknown_outcome) continue;
    const std::uint32_t head = has_unknown_outcome ? unknown_head_ : known_head_;
    next_[entry] = head;
    previous_[entry] = previous_[head];
    next_[previous_[head]] = entry;
    previous_[head] = entry;
  }
}

void KeySearch::unlink(std::uint32_t entry) {
  next_[previous_[entry]] = next_[entry];
  previous_[next_[entry]] = previous_[entry];
}

void KeySearch::relink(std::uint32_t entry) {
  next_[previous_[entry]] = entry;
  previous_[next_[entry]] = entry;
}

bool KeySearch::only_looks(std::uint32_t operation) const {
  const KeyOperation& it = operations_[operation];
  return it.kind == OperationKind::get ||
         (it.kind == OperationKind::compare_and_swap && it.outcome == OperationOutcome::failed);
}

// Whether a single copy could have behaved like that at the present value.
bool KeySearch::is_allowed(std::uint32_t operation) const {
  const KeyOperation& it = operations_[operation];
  switch (it.kind) {
    case OperationKind::get: return it.value == now_.value;
    case OperationKind::compare_and_swap:
      return (it.expected == now_.value) == (it.outcome != OperationOutcome::failed);
    case OperationKind::put:
    case OperationKind::erase: return true;
  }
  return false;
}

std::uint32_t KeySearch::value_after(std::uint32_t operation) const {
  if (only_looks(operation)) return static_cast<std::uint32_t>(now_.value);
  return operations_[operation].value;
}

// The time before which what comes next was invoked.
std::int64_t KeySearch::horizon() const {
  for (std::uint32_t entry = next_[known_head_]; entry != known_head_; entry = next_[entry]) {
    if (entry >= count_) return operations_[entry - count_].returned;
  }
  return std::numeric_limits<std::int64_t>::max();
}

// What the operations that may come next lack at the present value.
KeySearch::Needs KeySearch::needs(std::int64_t latest) const {
  Needs needs;
  for (std::uint32_t entry = next_[known_head_]; entry < count_; entry = next_[entry]) {
    const KeyOperation& it = operations_[entry];
    if (it.kind == OperationKind::get) needs.values.push_back(it.value);
    if (it.kind != OperationKind::compare_and_swap) continue;
    if (it.outcome == OperationOutcome::failed) {
      needs.any_other |= it.expected == now_.value;
    } else {
      needs.values.push_back(it.expected);
    }
  }
  for (std::uint32_t entry = next_[unknown_head_]; entry < count_; entry = next_[entry]) {
    const KeyOperation& it = operations_[entry];
    if (it.invoked > latest) break;
    if (it.kind == OperationKind::compare_and_swap) needs.values.push_back(it.expected);
  }
  std::ranges::sort(needs.values);
  return needs;
}

bool KeySearch::is_useful(std::uint32_t unknown, const Needs& needs) const {
  const std::uint32_t value = operations_[unknown].value;
  if (!is_allowed(unknown) || value == now_.value) return false;
  return needs.any_other || std::ranges::binary_search(needs.values, value);
}

void KeySearch::flip(std::uint32_t operation) {
  now_.low ^= mix(2 * std::uint64_t{operation});
  now_.high ^= mix(2 * std::uint64_t{operation} + 1);
}

// False if the configuration it leads to has been searched already.
bool KeySearch::try_place(std::uint32_t operation, bool has_alternatives) {
  const auto value_before = static_cast<std::uint32_t>(now_.value);
  const std::uint32_t value = value_after(operation);
  flip(operation);
  now_.value = value;
  if (!seen_.insert(now_).second) {
    flip(operation);
    now_.value = value_before;
    return false;
  }
  unlink(operation);
  if (!is_unknown(operation)) unlink(count_ + operation);
  placed_.push_back({operation, value_before, has_alternatives});
  note_depth();
  return true;
}

void KeySearch::note_depth() {
  if (placed_.size() <= placed_most_) return;
  placed_most_ = placed_.size();
  for (std::uint32_t entry = next_[known_head_]; entry != known_head_; entry = next_[entry]) {
    if (entry < count_) continue;
    stuck_at_ = entry - count_;
    return;
  }
}

// An operation that only looks and sees what it should: there is no need to try anything else here.
std::optional<std::uint32_t> KeySearch::one_that_looks() const {
  for (std::uint32_t entry = next_[known_head_]; entry < count_; entry = next_[entry]) {
    if (only_looks(entry) && is_allowed(entry)) return entry;
  }
  return std::nullopt;
}

// Tries what may come next from that entry of the list of known outcomes on, then the others.
bool KeySearch::place_from(std::uint32_t entry) {
  for (; entry < count_; entry = next_[entry]) {
    if (!only_looks(entry) && is_allowed(entry) && try_place(entry, true)) return true;
  }
  return place_unknown_from(next_[unknown_head_]);
}

bool KeySearch::place_unknown_from(std::uint32_t entry) {
  if (entry >= count_) return false;
  const std::int64_t latest = horizon();
  const Needs lacking = needs(latest);
  for (; entry < count_ && operations_[entry].invoked <= latest; entry = next_[entry]) {
    if (is_useful(entry, lacking) && try_place(entry, true)) return true;
  }
  return false;
}

// Takes back until something else can be placed instead. False: there is nothing left to try.
bool KeySearch::step_back() {
  while (!placed_.empty()) {
    const Placed last = placed_.back();
    placed_.pop_back();
    if (!is_unknown(last.operation)) relink(count_ + last.operation);
    relink(last.operation);
    flip(last.operation);
    now_.value = last.value_before;
    if (!last.has_alternatives) continue;
    const std::uint32_t next = next_[last.operation];
    if (is_unknown(last.operation) ? place_unknown_from(next) : place_from(next)) return true;
  }
  return false;
}

Verdict KeySearch::run() {
  while (next_[known_head_] != known_head_) {
    if (seen_.size() > configurations_max_) return Verdict::undecided;
    const auto looking = one_that_looks();
    const bool is_placed = looking ? try_place(*looking, false) : place_from(next_[known_head_]);
    if (!is_placed && !step_back()) return Verdict::not_linearizable;
  }
  return Verdict::linearizable;
}

}  // namespace dvs::cluster
