// The HTTP API and the daemon, joined: the one neither knows nor needs the other.
#pragma once

#include <memory>

#include "cluster/node/cluster_node.hpp"
#include "dvk/daemon/config.hpp"
#include "dvk/daemon/extension.hpp"

namespace dvsd {

// The API of the daemon with that configuration, at <run_dir>/api.sock. `cluster`: null if the
// nodes do not agree by consensus; outlives the extension.
std::unique_ptr<dvk::daemon::Extension> make_api(const dvk::daemon::Config& config,
                                                 const dvs::cluster::ClusterNode* cluster);

}  // namespace dvsd
