// A local cluster from its beginning to its end.
//
// Invariant: what exists of a cluster is in its record, which is written first and removed last. So
// `take_down` finds everything, whatever interrupted `bring_up`, or itself.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <dvs/result.hpp>

#include "local/plan.hpp"
#include "local/record_store.hpp"

namespace dvs::local {

// Told what is being done, a line each. False: to be given up.
using Progress = std::function<bool(const std::string&)>;

// Makes the nodes and starts a dvsd on each; returns when all of them answer. If it cannot, what
// was made is taken away again. Blocks. Errors: name_in_use (such a cluster is there, or something
// with the names it needs), not_permitted (not root), invalid_argument, unsupported, system,
// deadline (a daemon does not answer; its last words are in the detail), cancelled.
Result<Record> bring_up(const RecordStore& store, const Plan& plan, const std::string& daemon,
                        const Progress& progress);

// Ends all processes of the cluster, and removes its networks, mounts, files and record. Returns
// whether there was one. Blocks. Errors: system, deadline (a process does not die).
Result<bool> take_down(const RecordStore& store, const std::string& name, const Progress& progress);

// Starts the daemon of one node, with `record` kept in `store`, whose lock is held, and waits until
// it answers.
Result<void> start_daemon(const RecordStore& store, Record& record, int node);

// The socket of a node's API.
std::string api_socket(const Plan& plan, int node);

}  // namespace dvs::local
