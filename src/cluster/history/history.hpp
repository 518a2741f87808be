// What clients of the settings did and saw, for judging afterwards.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dvs::cluster {

enum class OperationKind : std::uint8_t { get, put, compare_and_swap, erase };

enum class OperationOutcome : std::uint8_t {
  ok,      // it took effect, or read what it says it read
  failed,  // it had no effect; a compare_and_swap found something else than it expected
  // It may take effect once, at any time from its invocation on, or never. Also what has not
  // returned when the history ends.
  unknown,
};

// One operation on one key. Times are of one clock for all clients, in any unit.
struct RecordedOperation {
  using Value = std::optional<std::string>;  // nothing: there is no such setting

  std::uint32_t client = 0;
  OperationKind kind{};
  std::string key;
  Value expected;  // compare_and_swap
  Value value;     // written by put and compare_and_swap; read by get
  OperationOutcome outcome = OperationOutcome::unknown;
  std::int64_t invoked = 0;
  std::int64_t returned = std::numeric_limits<std::int64_t>::max();
};

class History {
 public:
  // Returns where it stands, for `end`.
  std::size_t begin(RecordedOperation operation) {
    operations_.push_back(std::move(operation));
    return operations_.size() - 1;
  }
  void end(std::size_t place, OperationOutcome outcome, std::int64_t returned) {
    operations_[place].outcome = outcome;
    operations_[place].returned = returned;
  }
  void end_get(std::size_t place, RecordedOperation::Value read, std::int64_t returned) {
    operations_[place].value = std::move(read);
    end(place, OperationOutcome::ok, returned);
  }
  const std::vector<RecordedOperation>& operations() const { return operations_; }

 private:
  std::vector<RecordedOperation> operations_;
};

// "client 3 put containers/9 = x: ok, 17..42", for people.
std::string to_string(const RecordedOperation& operation);

}  // namespace dvs::cluster
