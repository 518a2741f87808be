#include "cluster/history/history.hpp"

#include <fmt/format.h>

namespace dvs::cluster {
namespace {

std::string text_of(const RecordedOperation::Value& value) {
  return value ? *value : "(none)";
}

std::string what(const RecordedOperation& operation) {
  switch (operation.kind) {
    case OperationKind::get:
      return fmt::format("get {} = {}", operation.key, text_of(operation.value));
    case OperationKind::put:
      return fmt::format("put {} = {}", operation.key, text_of(operation.value));
    case OperationKind::compare_and_swap:
      return fmt::format("swap {} from {} to {}", operation.key, text_of(operation.expected),
                         text_of(operation.value));
    case OperationKind::erase: return fmt::format("erase {}", operation.key);
  }
  return "?";
}

std::string_view text_of(OperationOutcome outcome) {
  switch (outcome) {
    case OperationOutcome::ok: return "ok";
    case OperationOutcome::failed: return "failed";
    case OperationOutcome::unknown: return "unknown";
  }
  return "?";
}

}  // namespace

std::string to_string(const RecordedOperation& operation) {
  return fmt::format("client {} {}: {}, {}..{}", operation.client, what(operation),
                     text_of(operation.outcome), operation.invoked, operation.returned);
}

}  // namespace dvs::cluster
