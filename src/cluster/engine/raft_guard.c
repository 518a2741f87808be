// See raft_guard.h.
#include "cluster/engine/raft_guard.h"

#include <string.h>

#ifdef RAFT_VERSION_NUMBER  // 0.22 has shortened the names
#define RAFT_IO_APPEND_ENTRIES RAFT_APPEND_ENTRIES
#define RAFT_IO_INSTALL_SNAPSHOT RAFT_INSTALL_SNAPSHOT
#endif

static struct dvs_raft_guard* guard_of(struct raft_io* io) {
  return (struct dvs_raft_guard*)io;
}

bool dvs_raft_guard_is_idle(const struct dvs_raft_guard* guard) {
  return !guard->is_cutting && guard->their_put == NULL;
}

static int cut(struct raft_io* io, raft_index index) {
  struct dvs_raft_guard* guard = guard_of(io);
  const int code = guard->real.truncate(io, index);
  // Conflicting entries came in a message that goes on with better ones: an append follows at once.
  if (code == 0) guard->is_cutting = true;
  return code;
}

static void on_appended(struct raft_io_append* request, int status) {
  struct dvs_raft_guard* guard = request->data;
  struct raft_io_append* theirs = guard->their_append;
  guard->their_append = NULL;
  guard->is_cutting = false;
  guard->their_append_done(theirs, status);
}

static int append(struct raft_io* io, struct raft_io_append* request,
                  const struct raft_entry entries[], unsigned count, raft_io_append_cb done) {
  struct dvs_raft_guard* guard = guard_of(io);
  if (!guard->is_cutting || guard->their_append != NULL) {
    return guard->real.append(io, request, entries, count, done);
  }
  guard->their_append = request;
  guard->their_append_done = done;
  guard->append.data = guard;
  const int code = guard->real.append(io, &guard->append, entries, count, on_appended);
  if (code != 0) {
    guard->their_append = NULL;
    guard->is_cutting = false;
  }
  return code;
}

static void on_put(struct raft_io_snapshot_put* request, int status) {
  struct dvs_raft_guard* guard = request->data;
  struct raft_io_snapshot_put* theirs = guard->their_put;
  guard->their_put = NULL;
  guard->their_put_done(theirs, status);
}

static int put_snapshot(struct raft_io* io, unsigned trailing, struct raft_io_snapshot_put* request,
                        const struct raft_snapshot* snapshot, raft_io_snapshot_put_cb done) {
  struct dvs_raft_guard* guard = guard_of(io);
  if (!dvs_raft_guard_is_idle(guard)) return RAFT_BUSY;
  guard->their_put = request;
  guard->their_put_done = done;
  guard->put.data = guard;
  const int code = guard->real.snapshot_put(io, trailing, &guard->put, snapshot, on_put);
  if (code != 0) guard->their_put = NULL;
  return code;
}

// Entries that lie where the own log has some already may contradict it.
static bool must_wait(const struct dvs_raft_guard* guard, const struct raft_message* message) {
  if (dvs_raft_guard_is_idle(guard)) return false;
  if (message->type == RAFT_IO_INSTALL_SNAPSHOT) return true;
  return message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0 &&
         message->append_entries.prev_log_index < raft_last_index(guard->raft);
}

// What the receiver of a message has to free. The entries of one message share one piece of memory.
static void drop(struct raft_message* message) {
  if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
    raft_configuration_close(&message->install_snapshot.conf);
    raft_free(message->install_snapshot.data.base);
    return;
  }
  raft_free(message->append_entries.entries[0].batch);
  raft_free(message->append_entries.entries);
}

static void receive(struct raft_io* io, struct raft_message* message) {
  struct dvs_raft_guard* guard = guard_of(io);
  if (must_wait(guard, message)) {
    drop(message);
  } else {
    guard->receive(io, message);
  }
}

static int start(struct raft_io* io, unsigned milliseconds, raft_io_tick_cb tick,
                 raft_io_recv_cb received) {
  struct dvs_raft_guard* guard = guard_of(io);
  guard->receive = received;
  return guard->real.start(io, milliseconds, tick, receive);
}

void dvs_raft_guard(struct dvs_raft_guard* guard, struct raft* raft) {
  guard->raft = raft;
  memcpy(&guard->real, &guard->io, sizeof guard->real);
  guard->io.start = start;
  guard->io.truncate = cut;
  guard->io.append = append;
  guard->io.snapshot_put = put_snapshot;
}
