// The reports as Prometheus wants them: text format 0.0.4,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
#pragma once

#include <string>

#include "api/api_source.hpp"

namespace dvs::api {

std::string metrics_text(const std::string& version, const NodeReport& node,
                         const ClusterReport& cluster);

}  // namespace dvs::api
