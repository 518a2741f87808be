#include "cluster/history/linearizability.hpp"

#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cluster/history/key_search.hpp"

namespace dvs::cluster {
namespace {

// What one key's operations are, with values as numbers.
class KeyHistory {
 public:
  void add(const RecordedOperation& operation) {
    const bool has_outcome = operation.outcome == OperationOutcome::ok;
    const bool is_swap = operation.kind == OperationKind::compare_and_swap;
    // What had no effect and saw nothing says nothing.
    const bool says_nothing = operation.outcome == OperationOutcome::failed
                                  ? !is_swap
                                  : !has_outcome && is_get(operation);
    if (says_nothing) return;
    KeyOperation& added = operations_.emplace_back();
    added.kind = operation.kind;
    added.outcome = operation.outcome;
    if (is_swap) added.expected = number_of(operation.expected);
    if (operation.kind != OperationKind::erase) added.value = number_of(operation.value);
    added.invoked = operation.invoked;
    added.returned = operation.returned;
    recorded_.push_back(&operation);
  }

  Judgement judge(const std::string& key, std::uint64_t configurations_max) const {
    KeySearch search(operations_, configurations_max);
    const Verdict verdict = search.run();
    if (verdict == Verdict::linearizable) return {};
    return {verdict, key,
            fmt::format("{} of {} operations have a place; then comes: {}", search.placed_most(),
                        operations_.size(), to_string(*recorded_[search.stuck_at()]))};
  }

 private:
  static bool is_get(const RecordedOperation& operation) {
    return operation.kind == OperationKind::get;
  }
  std::uint32_t number_of(const RecordedOperation::Value& value) {
    if (!value) return 0;
    const auto next = static_cast<std::uint32_t>(numbers_.size() + 1);
    return numbers_.try_emplace(*value, next).first->second;
  }

  std::unordered_map<std::string, std::uint32_t> numbers_;
  std::vector<KeyOperation> operations_;
  std::vector<const RecordedOperation*> recorded_;
};

}  // namespace

Judgement judge(const History& history, std::uint64_t configurations_max) {
  std::map<std::string, KeyHistory> keys;
  for (const RecordedOperation& operation : history.operations()) {
    keys[operation.key].add(operation);
  }
  Judgement undecided;
  for (const auto& [key, operations] : keys) {
    Judgement judgement = operations.judge(key, configurations_max);
    if (judgement.verdict == Verdict::not_linearizable) return judgement;
    if (judgement.verdict == Verdict::undecided) undecided = std::move(judgement);
  }
  return undecided;
}

}  // namespace dvs::cluster
