// See dvsd_pki.hpp.
#include "apps/dvsd_pki.hpp"

#include <fmt/format.h>

#include "dvk/link/pki.hpp"

namespace dvsd {
namespace {

int complain(const dvs::Error& error) {
  fmt::print(stderr, "dvsd pki: {}\n", dvs::to_string(error));
  return error == dvs::Errc::invalid_argument ? exit_usage : exit_failure;
}

}  // namespace

int run(const PkiInit& request) {
  const auto cluster = dvk::link::create_authority(request.directory, request.cluster,
                                                   dvk::link::Validity::for_days(request.days));
  if (!cluster) return complain(cluster.error());
  fmt::print("cluster {} ({})\nauthority in {}; keep authority.key secret, it admits nodes\n",
             request.cluster, dvk::link::to_text(*cluster), request.directory.string());
  return 0;
}

int run(const PkiIssue& request) {
  const auto out =
      request.out.empty() ? request.directory / fmt::format("node-{}", request.node) : request.out;
  const auto issued = dvk::link::issue_node(out, request.directory,
                                            dvs::NodeId{static_cast<std::uint16_t>(request.node)},
                                            dvk::link::Validity::for_days(request.days));
  if (!issued) return complain(issued.error());
  fmt::print("certificate of node {} in {}; name that directory in [certificate]\n", request.node,
             out.string());
  return 0;
}

}  // namespace dvsd
