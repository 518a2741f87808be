// What libraft's statuses mean in the catalogue of errors.
#pragma once

#include <string>

#include <dvs/result.hpp>

#include "cluster/engine/engine.hpp"
#include "cluster/engine/raft_group.h"

namespace dvs::cluster {

// A request was not taken: nothing happened. `view` says who leads instead.
Error refusal(dvs_raft_status status, const dvs_raft_view& view, const std::string& message);
// A proposal or a barrier that was under way ended without success: nobody knows.
Error lost(dvs_raft_status status);
// A change of the members, or a transfer, that was under way ended without success.
Error unchanged(dvs_raft_status status, NodeId node);
// The start failed; `what` names the directory.
Error start_error(dvs_raft_status status, const std::string& what);

}  // namespace dvs::cluster
