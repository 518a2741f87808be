// Keeps libraft's disk writer out of what it cannot do. Needed for 0.15; 0.22 is treated alike.
//
// In libraft 0.15 cutting off the end of the log (a follower that was a leader has entries there
// that nobody else has) and storing a snapshot wait for each other wrongly: a second cut, or a
// snapshot during a cut, can be forgotten or done twice, and closing while a cut is under way frees
// memory that is still used (canonical/raft issues 332 and 372). And when several appends fail, by
// closing or by the disk, it takes the log back once for each in the order of their making, which
// corrupts its memory from the second on. So this stands between libraft and its writer:
//   * a message that would cause a cut or a snapshot while either is under way is dropped; the
//     leader sends it again, and Raft does not mind;
//   * appends that fail are reported when all under way have ended, the newest first. That makes
//     the last of these rarer but does not end it (README.md);
//   * it says when closing is safe.
// It needs no private knowledge: raft_io is a table of functions.
#pragma once

#include <raft.h>
#include <stdbool.h>

struct dvs_raft_append;

struct dvs_raft_guard {
  struct raft_io io;  // first: libraft hands this out, and the guard is found again by its address
  struct raft_io real;  // the functions behind it
  struct raft* raft;
  raft_io_recv_cb receive;
  bool is_settling;

  unsigned appends;                // under way
  struct dvs_raft_append* failed;  // to be reported, the newest first
  bool is_cutting;  // until the first append after the cut has ended: it waits for it
  struct dvs_raft_append* closing_append;  // that one, once there is one

  struct raft_io_snapshot_put put;
  struct raft_io_snapshot_put* their_put;  // being stored
  raft_io_snapshot_put_cb their_put_done;
};

// After raft_uv_init(&guard->io) and before raft_init.
void dvs_raft_guard(struct dvs_raft_guard* guard, struct raft* raft);
// Whether a snapshot may be begun.
bool dvs_raft_guard_can_snapshot(const struct dvs_raft_guard* guard);
// From the first call on no more entries are taken from other members. True once nothing is under
// way.
bool dvs_raft_guard_settle(struct dvs_raft_guard* guard);
