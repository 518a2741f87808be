// Keeps libraft's disk writer out of what it cannot do: one thing at a time with the log's files.
//
// In libraft 0.15 cutting off the end of the log (a follower that was a leader has entries there
// that nobody else has) and storing a snapshot wait for each other wrongly: closing while a cut is
// under way frees memory that is still used, and a second cut, or a snapshot during a cut, can be
// forgotten or done twice (canonical/raft issues 332 and 372). So this stands between libraft and
// its writer:
//   * a message that would cause a cut or a snapshot while either is under way is dropped; the
//   leader
//     sends it again, and Raft does not mind;
//   * it says when closing is safe.
// It needs no private knowledge: raft_io is a table of functions. 0.22 is mended but is treated
// alike.
#pragma once

#include <raft.h>
#include <stdbool.h>

struct dvs_raft_guard {
  struct raft_io io;    // first: libraft hands this out, and it is found again by its address
  struct raft_io real;  // the functions behind it
  struct raft* raft;
  raft_io_recv_cb receive;

  bool is_cutting;  // until the first append after the cut is on disk: it waits for the cut
  struct raft_io_append append;
  struct raft_io_append* their_append;  // that first append, once there is one
  raft_io_append_cb their_append_done;

  struct raft_io_snapshot_put put;
  struct raft_io_snapshot_put* their_put;  // being stored
  raft_io_snapshot_put_cb their_put_done;
};

// After raft_uv_init(&guard->io) and before raft_init.
void dvs_raft_guard(struct dvs_raft_guard* guard, struct raft* raft);
// Neither a cut nor a snapshot is under way.
bool dvs_raft_guard_is_idle(const struct dvs_raft_guard* guard);
