// See raft_guard.h.
#include "cluster/engine/raft_guard.h"

#include <string.h>

#ifdef RAFT_VERSION_NUMBER  // 0.22 has shortened the names
#define RAFT_IO_APPEND_ENTRIES RAFT_APPEND_ENTRIES
#define RAFT_IO_INSTALL_SNAPSHOT RAFT_INSTALL_SNAPSHOT
#endif

// Stands for a request of libraft's while the writer has it.
struct dvs_raft_append {
  struct raft_io_append own;
  struct dvs_raft_guard* guard;
  struct raft_io_append* theirs;
  raft_io_append_cb done;
  int status;
  struct dvs_raft_append* next;
};

static struct dvs_raft_guard* guard_of(struct raft_io* io) {
  return (struct dvs_raft_guard*)io;
}

bool dvs_raft_guard_can_snapshot(const struct dvs_raft_guard* guard) {
  return !guard->is_cutting && guard->their_put == NULL;
}

bool dvs_raft_guard_settle(struct dvs_raft_guard* guard) {
  guard->is_settling = true;
  return dvs_raft_guard_can_snapshot(guard) && guard->appends == 0;
}

static int cut(struct raft_io* io, raft_index index) {
  struct dvs_raft_guard* guard = guard_of(io);
  const int code = guard->real.truncate(io, index);
  // Conflicting entries came in a message that goes on with better ones: an append follows at once.
  if (code == 0) guard->is_cutting = true;
  return code;
}

static void report(struct dvs_raft_append* append) {
  struct raft_io_append* theirs = append->theirs;
  const raft_io_append_cb done = append->done;
  const int status = append->status;
  raft_free(append);
  done(theirs, status);
}

static void on_appended(struct raft_io_append* request, int status) {
  struct dvs_raft_append* append = request->data;
  struct dvs_raft_guard* guard = append->guard;
  if (guard->closing_append == append) {
    guard->closing_append = NULL;
    guard->is_cutting = false;
  }
  --guard->appends;
  // What follows a failed write in the log has failed as well.
  append->status = status == 0 && guard->failed != NULL ? RAFT_IOERR : status;
  if (append->status == 0) {
    report(append);
    return;
  }
  append->next = guard->failed;
  guard->failed = append;
  while (guard->appends == 0 && guard->failed != NULL) {
    append = guard->failed;
    guard->failed = append->next;
    report(append);
  }
}

static int append_entries(struct raft_io* io, struct raft_io_append* request,
                          const struct raft_entry entries[], unsigned count,
                          raft_io_append_cb done) {
  struct dvs_raft_guard* guard = guard_of(io);
  struct dvs_raft_append* append = raft_calloc(1, sizeof *append);
  const bool ends_the_cut = guard->is_cutting && guard->closing_append == NULL;
  int code = RAFT_NOMEM;
  if (append != NULL) {
    *append = (struct dvs_raft_append){.guard = guard, .theirs = request, .done = done};
    append->own.data = append;
    ++guard->appends;
    if (ends_the_cut) guard->closing_append = append;
    code = guard->real.append(io, &append->own, entries, count, on_appended);
    if (code != 0) --guard->appends;
  }
  if (code != 0) {
    if (ends_the_cut) {
      guard->closing_append = NULL;
      guard->is_cutting = false;
    }
    raft_free(append);
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
  if (!dvs_raft_guard_can_snapshot(guard)) return RAFT_BUSY;
  guard->their_put = request;
  guard->their_put_done = done;
  guard->put.data = guard;
  const int code = guard->real.snapshot_put(io, trailing, &guard->put, snapshot, on_put);
  if (code != 0) guard->their_put = NULL;
  return code;
}

// Entries that lie where the own log has some already may contradict it.
static bool must_wait(const struct dvs_raft_guard* guard, const struct raft_message* message) {
  const bool is_busy = !dvs_raft_guard_can_snapshot(guard);
  if (message->type == RAFT_IO_INSTALL_SNAPSHOT) return is_busy || guard->is_settling;
  if (message->type != RAFT_IO_APPEND_ENTRIES) return false;
  if (message->append_entries.n_entries == 0) return false;
  if (guard->is_settling) return true;
  return is_busy && message->append_entries.prev_log_index < raft_last_index(guard->raft);
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
  guard->io.append = append_entries;
  guard->io.snapshot_put = put_snapshot;
}
