// With raft_guard.c the only file that knows libraft. Written against what 0.15 (Debian 12) and
// 0.22 (Debian 13) have in common; where they differ:
//   * raft_uv_transport has a version since 0.22, which must be set;
//   * raft_apply takes one buffer only since 0.22, and several functions assert what 0.15 checked
//     (being leader when a server is added), so that is checked here;
//   * RAFT_UNAVAILABLE is not a state that 0.22 enters: it goes on trying to write;
//   * 0.22 triples an election timeout of exactly 150 ms beside a heartbeat of exactly 15 ms;
//   * 0.22 refuses commands with RAFT_NOSPACE before the disk is full.
// Both demand that an entry's length is a multiple of eight, and give apply and restore no index.
#include "cluster/engine/raft_group.h"

#include <endian.h>
#include <inttypes.h>
#include <raft.h>
#include <raft/uv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "cluster/engine/raft_guard.h"

struct dvs_raft_group {
  struct raft raft;
  struct dvs_raft_guard guard;  // with the raft_io
  struct raft_fsm fsm;
  struct raft_uv_transport transport;
  struct uv_loop_s* loop;
  struct dvs_raft_hooks hooks;
  raft_uv_accept_cb accept;  // none before the start and after the close
  uint64_t node;
  bool is_started;
};

// A request under way; `token` is the owner's.
struct request {
  struct dvs_raft_group* group;
  void* token;
  union {
    struct raft_apply apply;
    struct raft_barrier barrier;
    struct raft_change change;
    struct raft_transfer transfer;
  };
};

// What is stored: entries begin with their size, snapshots with a mark, their index and their size;
// both are padded to eight bytes. Little-endian.
enum { entry_head = 8, snapshot_head = 24 };
static const char snapshot_mark[8] = "DVSSNAP1";

static size_t padded(size_t size) {
  return (size + 7) & ~(size_t)7;
}

static void put_number(void* at, uint64_t number) {
  number = htole64(number);
  memcpy(at, &number, sizeof number);
}

static uint64_t get_number(const void* at) {
  uint64_t number;
  memcpy(&number, at, sizeof number);
  return le64toh(number);
}

// A server's address is its number once more: streams are found by the number.
struct address {
  char text[24];
};

static struct address address_of(uint64_t node) {
  struct address address;
  snprintf(address.text, sizeof address.text, "%" PRIu64, node);
  return address;
}

static enum dvs_raft_status status_of(int code) {
  switch (code) {
    case 0: return DVS_RAFT_OK;
    case RAFT_NOMEM: return DVS_RAFT_NO_MEMORY;
    case RAFT_BADID:
    case RAFT_NOTFOUND: return DVS_RAFT_UNKNOWN_SERVER;
    case RAFT_DUPLICATEID:
    case RAFT_DUPLICATEADDRESS: return DVS_RAFT_DUPLICATE_SERVER;
    case RAFT_BADROLE: return DVS_RAFT_SAME_ROLE;
    case RAFT_NOTLEADER: return DVS_RAFT_NOT_LEADER;
    case RAFT_LEADERSHIPLOST: return DVS_RAFT_LEADERSHIP_LOST;
    case RAFT_SHUTDOWN:
    case RAFT_CANCELED: return DVS_RAFT_STOPPED;
    case RAFT_CANTCHANGE: return DVS_RAFT_CHANGE_PENDING;
    case RAFT_MALFORMED:
    case RAFT_CORRUPT:
    case RAFT_CANTBOOTSTRAP: return DVS_RAFT_CORRUPT;
    case RAFT_TOOBIG: return DVS_RAFT_TOO_BIG;
    case RAFT_NOCONNECTION: return DVS_RAFT_NO_CONNECTION;
    case RAFT_BUSY:
    case RAFT_TOOMANY: return DVS_RAFT_BUSY;
    case RAFT_UNAUTHORIZED: return DVS_RAFT_DENIED;
    case RAFT_NOSPACE: return DVS_RAFT_NO_SPACE;
    case RAFT_INVALID:
    case RAFT_NAMETOOLONG: return DVS_RAFT_INVALID;
    default: return DVS_RAFT_IO;
  }
}

// ---- the state machine -------------------------------------------------------------------------

static int on_apply(struct raft_fsm* fsm, const struct raft_buffer* buffer, void** result) {
  struct dvs_raft_group* group = fsm->data;
  *result = NULL;
  if (buffer->len < entry_head) return RAFT_MALFORMED;
  const uint64_t size = get_number(buffer->base);
  if (size > buffer->len - entry_head) return RAFT_MALFORMED;
  // libraft counts an entry as applied after this call, and applies them one by one.
  const uint64_t index = raft_last_applied(&group->raft) + 1;
  const char* data = (const char*)buffer->base + entry_head;
  return group->hooks.apply(group->hooks.owner, index, data, size) == 0 ? 0 : RAFT_INVALID;
}

struct dvs_raft_sink {
  uint64_t index;
  struct raft_buffer buffer;
};

int dvs_raft_put(struct dvs_raft_sink* sink, const void* data, size_t size) {
  const size_t total = snapshot_head + padded(size);
  char* base = raft_malloc(total);
  if (base == NULL) return RAFT_NOMEM;
  memset(base + total - 8, 0, 8);
  memcpy(base, snapshot_mark, sizeof snapshot_mark);
  put_number(base + 8, sink->index);
  put_number(base + 16, size);
  if (size > 0) memcpy(base + snapshot_head, data, size);
  sink->buffer = (struct raft_buffer){base, total};
  return 0;
}

static int on_snapshot(struct raft_fsm* fsm, struct raft_buffer* buffers[], unsigned* count) {
  struct dvs_raft_group* group = fsm->data;
  // "Not now", the one answer that libraft does not take for the end of everything.
  if (!dvs_raft_guard_can_snapshot(&group->guard)) return RAFT_BUSY;
  struct dvs_raft_sink sink = {raft_last_applied(&group->raft), {NULL, 0}};
  *buffers = raft_malloc(sizeof **buffers);
  if (*buffers == NULL) return RAFT_BUSY;
  if (group->hooks.snapshot(group->hooks.owner, sink.index, &sink) != 0) {
    raft_free(*buffers);
    return RAFT_BUSY;
  }
  **buffers = sink.buffer;
  *count = 1;
  return 0;
}

// Owns the buffer if it succeeds.
static int on_restore(struct raft_fsm* fsm, struct raft_buffer* buffer) {
  struct dvs_raft_group* group = fsm->data;
  const char* base = buffer->base;
  if (buffer->len < snapshot_head) return RAFT_MALFORMED;
  if (memcmp(base, snapshot_mark, sizeof snapshot_mark) != 0) return RAFT_MALFORMED;
  const uint64_t size = get_number(base + 16);
  if (size > buffer->len - snapshot_head) return RAFT_MALFORMED;
  const uint64_t index = get_number(base + 8);
  if (group->hooks.restore(group->hooks.owner, index, base + snapshot_head, size) != 0) {
    return RAFT_MALFORMED;
  }
  raft_free(buffer->base);
  return 0;
}

// ---- the transport -----------------------------------------------------------------------------

static int transport_init(struct raft_uv_transport* transport, raft_id id, const char* address) {
  (void)transport;
  (void)id;
  (void)address;
  return 0;
}

static int transport_listen(struct raft_uv_transport* transport, raft_uv_accept_cb accept) {
  struct dvs_raft_group* group = transport->impl;
  group->accept = accept;
  return 0;
}

static void transport_close(struct raft_uv_transport* transport,
                            raft_uv_transport_close_cb closed) {
  struct dvs_raft_group* group = transport->impl;
  group->accept = NULL;
  closed(transport);
}

static void free_handle(uv_handle_t* handle) {
  raft_free(handle);
}

// A stream over `fd`, which it takes in any case.
static struct uv_stream_s* open_stream(struct dvs_raft_group* group, int fd) {
  uv_pipe_t* pipe = raft_malloc(sizeof *pipe);
  if (pipe == NULL || uv_pipe_init(group->loop, pipe, 0) != 0) {
    raft_free(pipe);
    close(fd);
    return NULL;
  }
  if (uv_pipe_open(pipe, fd) != 0) {
    close(fd);
    uv_close((uv_handle_t*)pipe, free_handle);
    return NULL;
  }
  return (struct uv_stream_s*)pipe;
}

// The owner gives the stream at once, or not: no attempt is ever pending.
static int transport_connect(struct raft_uv_transport* transport, struct raft_uv_connect* request,
                             raft_id id, const char* address, raft_uv_connect_cb connected) {
  struct dvs_raft_group* group = transport->impl;
  (void)address;
  const int fd = group->hooks.connect(group->hooks.owner, id);
  if (fd < 0) return RAFT_NOCONNECTION;
  struct uv_stream_s* stream = open_stream(group, fd);
  if (stream == NULL) return RAFT_NOMEM;
  request->cb = connected;
  connected(request, stream, 0);
  return 0;
}

enum dvs_raft_status dvs_raft_accept(struct dvs_raft_group* group, uint64_t node, int fd) {
  if (group->accept == NULL) {
    close(fd);
    return DVS_RAFT_STOPPED;
  }
  struct uv_stream_s* stream = open_stream(group, fd);
  if (stream == NULL) return DVS_RAFT_NO_MEMORY;
  const struct address address = address_of(node);
  group->accept(&group->transport, node, address.text, stream);
  return DVS_RAFT_OK;
}

// ---- life --------------------------------------------------------------------------------------

static void set_up(struct dvs_raft_group* group) {
  group->fsm.version = 1;
  group->fsm.data = group;
  group->fsm.apply = on_apply;
  group->fsm.snapshot = on_snapshot;
  group->fsm.restore = on_restore;
#ifdef RAFT_UV_TRACER_WRITE_SUBMIT  // 0.22
  group->transport.version = 1;
#endif
  group->transport.impl = group;
  group->transport.init = transport_init;
  group->transport.listen = transport_listen;
  group->transport.connect = transport_connect;
  group->transport.close = transport_close;
}

static void configure(struct dvs_raft_group* group, const struct dvs_raft_settings* settings) {
  struct raft* raft = &group->raft;
  raft_set_heartbeat_timeout(raft, settings->heartbeat_ms);
  raft_set_election_timeout(raft, settings->election_timeout_ms);
  raft_set_snapshot_threshold(raft, settings->snapshot_entries);
  raft_set_snapshot_trailing(raft, settings->snapshot_trailing);
  raft_set_pre_vote(raft, true);
  raft_set_max_catch_up_round_duration(raft, settings->catch_up_ms);
  raft_uv_set_connect_retry_delay(&group->guard.io, settings->connect_retry_ms);
  // Otherwise it would set damaged segments aside and go on without the entries in them.
  raft_uv_set_auto_recovery(&group->guard.io, false);
}

enum dvs_raft_status dvs_raft_open(struct dvs_raft_group** group, struct uv_loop_s* loop,
                                   const struct dvs_raft_settings* settings,
                                   const struct dvs_raft_hooks* hooks, char* message,
                                   size_t message_size) {
  struct dvs_raft_group* made = calloc(1, sizeof *made);
  if (made == NULL) return DVS_RAFT_NO_MEMORY;
  made->loop = loop;
  made->hooks = *hooks;
  made->node = settings->node;
  set_up(made);
  int code = raft_uv_init(&made->guard.io, loop, settings->directory, &made->transport);
  if (code != 0) {
    snprintf(message, message_size, "%s", made->guard.io.errmsg);
    free(made);
    return status_of(code);
  }
  dvs_raft_guard(&made->guard, &made->raft);
  const struct address address = address_of(settings->node);
  code = raft_init(&made->raft, &made->guard.io, &made->fsm, settings->node, address.text);
  if (code != 0) {
    snprintf(message, message_size, "%s", raft_errmsg(&made->raft));
    raft_uv_close(&made->guard.io);
    free(made);
    return status_of(code);
  }
  configure(made, settings);
  *group = made;
  return DVS_RAFT_OK;
}

enum dvs_raft_status dvs_raft_bootstrap(struct dvs_raft_group* group) {
  struct raft_configuration configuration;
  raft_configuration_init(&configuration);
  const struct address address = address_of(group->node);
  int code = raft_configuration_add(&configuration, group->node, address.text, RAFT_VOTER);
  if (code == 0) code = raft_bootstrap(&group->raft, &configuration);
  raft_configuration_close(&configuration);
  return status_of(code);
}

enum dvs_raft_status dvs_raft_start(struct dvs_raft_group* group) {
  const int code = raft_start(&group->raft);
  group->is_started = code == 0;
  return status_of(code);
}

static void on_closed(struct raft* raft) {
  struct dvs_raft_group* group = raft->data;
  group->hooks.closed(group->hooks.owner);
}

bool dvs_raft_settle(struct dvs_raft_group* group) {
  return dvs_raft_guard_settle(&group->guard);
}

void dvs_raft_close(struct dvs_raft_group* group) {
  group->is_started = false;
  group->raft.data = group;
  raft_close(&group->raft, on_closed);
}

void dvs_raft_free(struct dvs_raft_group* group) {
  raft_uv_close(&group->guard.io);
  free(group);
}

// ---- requests ----------------------------------------------------------------------------------

static void finish(struct request* request, enum dvs_raft_status status, uint64_t index) {
  struct dvs_raft_group* group = request->group;
  void* token = request->token;
  free(request);
  group->hooks.done(group->hooks.owner, token, status, index);
}

// Either libraft has taken the request, or it is gone.
static enum dvs_raft_status taken(struct request* request, int code) {
  if (code != 0) free(request);
  return status_of(code);
}

// A request, if this node leads: libraft checks that in some functions only.
static enum dvs_raft_status begin(struct dvs_raft_group* group, void* token,
                                  struct request** request) {
  if (!group->is_started) return DVS_RAFT_STOPPED;
  const int state = raft_state(&group->raft);
  if (state == RAFT_UNAVAILABLE) return DVS_RAFT_FAILED;
  if (state != RAFT_LEADER) return DVS_RAFT_NOT_LEADER;
  *request = calloc(1, sizeof **request);
  if (*request == NULL) return DVS_RAFT_NO_MEMORY;
  (*request)->group = group;
  (*request)->token = token;
  return DVS_RAFT_OK;
}

static void on_applied(struct raft_apply* apply, int code, void* result) {
  (void)result;
  finish(apply->data, status_of(code), apply->index);
}

enum dvs_raft_status dvs_raft_propose(struct dvs_raft_group* group, void* token, const void* data,
                                      size_t size, uint64_t* index) {
  struct request* request = NULL;
  const enum dvs_raft_status ready = begin(group, token, &request);
  if (ready != DVS_RAFT_OK) return ready;
  const size_t total = entry_head + padded(size);
  char* entry = raft_malloc(total);
  if (entry == NULL) {
    free(request);
    return DVS_RAFT_NO_MEMORY;
  }
  memset(entry + total - 8, 0, 8);
  put_number(entry, size);
  if (size > 0) memcpy(entry + entry_head, data, size);
  request->apply.data = request;
  const struct raft_buffer buffer = {entry, total};
  const int code = raft_apply(&group->raft, &request->apply, &buffer, 1, on_applied);
  if (code != 0) {
    raft_free(entry);
  } else {
    *index = request->apply.index;
  }
  return taken(request, code);
}

static void on_barrier(struct raft_barrier* barrier, int code) {
  finish(barrier->data, status_of(code), barrier->index);
}

enum dvs_raft_status dvs_raft_barrier(struct dvs_raft_group* group, void* token) {
  struct request* request = NULL;
  const enum dvs_raft_status ready = begin(group, token, &request);
  if (ready != DVS_RAFT_OK) return ready;
  request->barrier.data = request;
  return taken(request, raft_barrier(&group->raft, &request->barrier, on_barrier));
}

static void on_changed(struct raft_change* change, int code) {
  finish(change->data, status_of(code), 0);
}

enum dvs_raft_status dvs_raft_change(struct dvs_raft_group* group, void* token,
                                     enum dvs_raft_change change, uint64_t node,
                                     enum dvs_raft_role role) {
  struct request* request = NULL;
  const enum dvs_raft_status ready = begin(group, token, &request);
  if (ready != DVS_RAFT_OK) return ready;
  struct raft* raft = &group->raft;
  struct raft_change* made = &request->change;
  made->data = request;
  int code = RAFT_INVALID;
  switch (change) {
    case DVS_RAFT_ADD: code = raft_add(raft, made, node, address_of(node).text, on_changed); break;
    case DVS_RAFT_ASSIGN: code = raft_assign(raft, made, node, (int)role, on_changed); break;
    case DVS_RAFT_REMOVE: code = raft_remove(raft, made, node, on_changed); break;
  }
  return taken(request, code);
}

// libraft does not say how it went; who leads now does.
static void on_transferred(struct raft_transfer* transfer) {
  struct request* request = transfer->data;
  raft_id leader = 0;
  const char* address = NULL;
  raft_leader(&request->group->raft, &leader, &address);
  const bool has_moved = leader != 0 && leader != request->group->node;
  finish(request, has_moved ? DVS_RAFT_OK : DVS_RAFT_NO_CONNECTION, 0);
}

enum dvs_raft_status dvs_raft_transfer(struct dvs_raft_group* group, void* token, uint64_t node) {
  struct request* request = NULL;
  const enum dvs_raft_status ready = begin(group, token, &request);
  if (ready != DVS_RAFT_OK) return ready;
  request->transfer.data = request;
  return taken(request, raft_transfer(&group->raft, &request->transfer, node, on_transferred));
}

// ---- looking -----------------------------------------------------------------------------------

void dvs_raft_set_snapshot_entries(struct dvs_raft_group* group, unsigned entries) {
  raft_set_snapshot_threshold(&group->raft, entries);
}

void dvs_raft_look(struct dvs_raft_group* group, struct dvs_raft_view* view) {
  struct raft* raft = &group->raft;
  raft_id leader = 0;
  const char* address = NULL;
  raft_leader(raft, &leader, &address);
  view->position = (enum dvs_raft_position)raft_state(raft);
  view->term = raft->current_term;
  view->leader = leader;
  view->committed = raft->commit_index;
  view->applied = raft_last_applied(raft);
  view->last = raft_last_index(raft);
  view->servers = raft->configuration.n;
  view->is_changing = raft->configuration_uncommitted_index != 0;
}

void dvs_raft_server(const struct dvs_raft_group* group, unsigned position, uint64_t* node,
                     enum dvs_raft_role* role) {
  const struct raft_server* server = &group->raft.configuration.servers[position];
  *node = server->id;
  *role = (enum dvs_raft_role)server->role;
}

const char* dvs_raft_message(struct dvs_raft_group* group) {
  const char* message = raft_errmsg(&group->raft);
  return message[0] != '\0' ? message : group->guard.io.errmsg;
}
