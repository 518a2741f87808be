// See faults.hpp.
#include "local/faults.hpp"

#include <csignal>

#include <fmt/format.h>

#include "local/cluster.hpp"
#include "local/network.hpp"
#include "local/process.hpp"

namespace dvs::local {
namespace {

Result<Record> record_of(const RecordStore& store, const std::string& name, int node) {
  DVS_TRY(auto record, store.read(name));
  if (!record) {
    return fail(
        Errc::invalid_argument,
        fmt::format("there is no local cluster \"{}\"; make one: dvs cluster up --local 3", name));
  }
  if (node < 1 || node > record->plan.nodes) {
    return fail(Errc::invalid_argument,
                fmt::format("the local cluster \"{}\" has n1 to n{}", name, record->plan.nodes));
  }
  return *std::move(record);
}

Result<void> signal_daemon(const Record& record, int node, int signal) {
  const auto process = open_process(record.daemon_of(node));
  if (process && signal == SIGKILL) return kill_process(*process);
  if (process) return send_signal(*process, signal);
  return fail(process.error().code,
              fmt::format("the dvsd of {} does not run; start it: dvs dev start {}",
                          node_name(node), node_name(node)));
}

Result<void> set_connected_of(const Record& record, int node, bool is_connected) {
  if (record.plan.has_network()) return set_connected(record.plan, node, is_connected);
  return fail(Errc::invalid_argument, "a lone node has no network");
}

Result<void> start_again(const RecordStore& store, Record& record, int node) {
  if (state_of(record.daemon_of(node)) != ProcessState::dead) {
    return fail(Errc::not_permitted, fmt::format("the dvsd of {} runs, with pid {}",
                                                 node_name(node), record.daemon_of(node).pid));
  }
  return start_daemon(store, record, node);
}

}  // namespace

Result<void> inflict(const RecordStore& store, const std::string& name, int node, Fault fault) {
  DVS_CHECK(record_of(store, name, node));
  DVS_TRY(const runtime::Fd lock, store.lock());
  DVS_TRY(Record record, record_of(store, name, node));
  switch (fault) {
    case Fault::cut: return set_connected_of(record, node, false);
    case Fault::heal: return set_connected_of(record, node, true);
    case Fault::pause: return signal_daemon(record, node, SIGSTOP);
    case Fault::resume: return signal_daemon(record, node, SIGCONT);
    case Fault::kill: return signal_daemon(record, node, SIGKILL);
    case Fault::start: return start_again(store, record, node);
  }
  return {};
}

}  // namespace dvs::local
