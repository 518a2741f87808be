// Harm done to a node of a local cluster, and undone: for tests, and to see what happens.
#pragma once

#include <dvs/result.hpp>

#include "local/record_store.hpp"

namespace dvs::local {

enum class Fault {
  cut,     // nothing reaches the node or leaves it, without a sign to anybody
  heal,    // it does again
  pause,   // the daemon is stopped where it is (SIGSTOP)
  resume,  // it goes on
  kill,    // the daemon is killed (SIGKILL)
  start,   // a killed daemon is started again, on the same state
};

// Errors: invalid_argument (no such cluster or node, or a lone one has no network), not_permitted
// (start: it runs), peer_died (it does not run), system.
Result<void> inflict(const RecordStore& store, const std::string& name, int node, Fault fault);

}  // namespace dvs::local
