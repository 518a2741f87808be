// dvs dev: faults for tests.

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/target_node.hpp"
#include "local/faults.hpp"

namespace dvs::cli {
namespace {

int inflict(const Options& options, local::Fault fault) {
  const auto node = local::parse_node(options.node);
  if (!node) return complain(node.error());
  const auto done = local::inflict(local::RecordStore(), options.cluster, *node, fault);
  return done ? exit_success : complain(done.error());
}

}  // namespace

int cut_node(const Options& options) {
  return inflict(options, local::Fault::cut);
}
int heal_node(const Options& options) {
  return inflict(options, local::Fault::heal);
}
int pause_node(const Options& options) {
  return inflict(options, local::Fault::pause);
}
int resume_node(const Options& options) {
  return inflict(options, local::Fault::resume);
}
int kill_node(const Options& options) {
  return inflict(options, local::Fault::kill);
}
int start_node(const Options& options) {
  return inflict(options, local::Fault::start);
}

}  // namespace dvs::cli
