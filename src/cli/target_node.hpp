// Which daemon a command speaks to.
#pragma once

#include <optional>
#include <string>

#include <dvs/result.hpp>

#include "cli/api_client.hpp"
#include "cli/options.hpp"
#include "local/record_store.hpp"

namespace dvs::cli {

struct TargetNode {
  std::string socket;
  std::optional<local::Record> local;  // the cluster it belongs to, when that is a local one
  int node = 0;                        // its number there
};

// What --socket says; what --at says; the first node of the local cluster that answers, if there is
// one; the system's own dvsd. Errors: invalid_argument (no such node or cluster; both options).
Result<TargetNode> choose_target(const Options& options,
                                 const local::RecordStore& store = local::RecordStore());

Result<ApiClient> connect(const Options& options);

// Tells of an error on stderr, with what to do about it, and returns the exit code for it.
int complain(const Error& error);

}  // namespace dvs::cli
