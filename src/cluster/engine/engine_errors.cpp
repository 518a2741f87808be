#include "cluster/engine/engine_errors.hpp"

#include <cerrno>

#include <fmt/format.h>

namespace dvs::cluster {

namespace {

int errno_of(dvs_raft_status status) {
  switch (status) {
    case DVS_RAFT_NO_SPACE: return ENOSPC;
    case DVS_RAFT_NO_MEMORY: return ENOMEM;
    case DVS_RAFT_DENIED: return EACCES;
    case DVS_RAFT_IO: return EIO;
    default: return 0;
  }
}

Error not_led_here(const dvs_raft_view& view) {
  if (view.position == DVS_RAFT_LEADER) {
    return {Errc::not_ready, 0, "leadership is being handed over; ask again"};
  }
  if (view.leader == 0) return {Errc::not_ready, 0, "no leader is known at present; ask again"};
  return {Errc::not_leader, 0, fmt::format("node {} leads the group", view.leader)};
}

}  // namespace

Error refusal(dvs_raft_status status, const dvs_raft_view& view, const std::string& message) {
  switch (status) {
    case DVS_RAFT_NOT_LEADER: return not_led_here(view);
    case DVS_RAFT_STOPPED: return {Errc::detached, 0, "the engine has been stopped"};
    case DVS_RAFT_CHANGE_PENDING:
      return {Errc::not_ready, 0, "another change of the members is under way; wait for its end"};
    case DVS_RAFT_UNKNOWN_SERVER:
      return {Errc::invalid_argument, 0, "the node is not a member that this can be done with"};
    case DVS_RAFT_DUPLICATE_SERVER:
      return {Errc::invalid_argument, 0, "the node is a member already"};
    case DVS_RAFT_TOO_BIG: return {Errc::message_too_large, 0, "the entry is too large"};
    case DVS_RAFT_BUSY: return {Errc::queue_full, 0, "the engine is busy"};
    case DVS_RAFT_SAME_ROLE:
    case DVS_RAFT_INVALID: return {Errc::invalid_argument, 0, message};
    default: return {Errc::system, errno_of(status), "the engine cannot write its log: " + message};
  }
}

Error lost(dvs_raft_status status) {
  const char* why = "the own log could not be written";
  if (status == DVS_RAFT_LEADERSHIP_LOST) why = "leadership was lost";
  if (status == DVS_RAFT_STOPPED) why = "the engine was stopped";
  return {Errc::unreachable, errno_of(status),
          fmt::format("{} while it was under way; it may or may not be committed", why)};
}

Error unchanged(dvs_raft_status status, NodeId node) {
  if (status != DVS_RAFT_NO_CONNECTION) return lost(status);
  return {Errc::not_ready, 0,
          fmt::format("node {} cannot be reached or does not catch up with the log", raw(node))};
}

Error start_error(dvs_raft_status status, const std::string& what) {
  switch (status) {
    case DVS_RAFT_CORRUPT: return {Errc::protocol_violation, 0, what};
    case DVS_RAFT_INVALID: return {Errc::invalid_argument, 0, what};
    default: return {Errc::system, errno_of(status), what};
  }
}

}  // namespace dvs::cluster
