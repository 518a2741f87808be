// One Raft group on one uv loop: what the engine needs of libraft, as a small C interface.
//
// libraft's own header cannot be included from C++ (no extern "C" in 0.15, not C++ at all in 0.22)
// and its names collide with ours, so raft_group.c and its raft_guard.c are all that sees it.
// Everything here is for the thread that runs the loop; nothing blocks but opening and starting,
// which read the disk.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct dvs_raft_group;
struct dvs_raft_sink;

enum dvs_raft_status {
  DVS_RAFT_OK = 0,
  DVS_RAFT_NOT_LEADER,
  DVS_RAFT_LEADERSHIP_LOST,
  DVS_RAFT_STOPPED,         // closed while under way
  DVS_RAFT_CHANGE_PENDING,  // another change of the configuration is under way
  DVS_RAFT_UNKNOWN_SERVER,
  DVS_RAFT_DUPLICATE_SERVER,
  DVS_RAFT_SAME_ROLE,
  DVS_RAFT_INVALID,
  DVS_RAFT_BUSY,
  DVS_RAFT_NO_CONNECTION,  // a server that was to become a voter did not catch up
  DVS_RAFT_TOO_BIG,
  DVS_RAFT_NO_MEMORY,
  DVS_RAFT_NO_SPACE,
  DVS_RAFT_DENIED,
  DVS_RAFT_IO,
  DVS_RAFT_CORRUPT,  // the directory's contents cannot be read, or not by this version
  DVS_RAFT_FAILED,   // the group gave up after an earlier error and has to be closed
};

enum dvs_raft_position {
  DVS_RAFT_UNAVAILABLE = 0,
  DVS_RAFT_FOLLOWER,
  DVS_RAFT_CANDIDATE,
  DVS_RAFT_LEADER,
};

enum dvs_raft_role { DVS_RAFT_STANDBY = 0, DVS_RAFT_VOTER, DVS_RAFT_SPARE };

struct dvs_raft_settings {
  const char* directory;
  uint64_t node;
  unsigned election_timeout_ms;
  unsigned heartbeat_ms;
  unsigned connect_retry_ms;
  unsigned catch_up_ms;  // one round of a server that is to become a voter
  unsigned snapshot_entries;
  unsigned snapshot_trailing;
};

// Called on the loop's thread, possibly from within the functions below; they may call none of
// those.
struct dvs_raft_hooks {
  void* owner;
  // A committed entry. 0, or anything else to give the group up.
  int (*apply)(void* owner, uint64_t index, const void* data, size_t size);
  // Put the state after `index` into the sink, once, and return what dvs_raft_put did.
  int (*snapshot)(void* owner, uint64_t index, struct dvs_raft_sink* sink);
  int (*restore)(void* owner, uint64_t index, const void* data, size_t size);
  // A stream towards `node` is wanted: a socket, or -1 for "not now, ask again later".
  int (*connect)(void* owner, uint64_t node);
  // The end of a request that one of the functions below has taken (returned DVS_RAFT_OK for).
  // `index` is that of its entry where it has one. Always called, exactly once.
  void (*done)(void* owner, void* request, enum dvs_raft_status status, uint64_t index);
  // Nothing is called any more; the group may be freed.
  void (*closed)(void* owner);
};

// Reads what the directory says of itself. On failure nothing is left to close, and `message` says
// why.
enum dvs_raft_status dvs_raft_open(struct dvs_raft_group** group, struct uv_loop_s* loop,
                                   const struct dvs_raft_settings* settings,
                                   const struct dvs_raft_hooks* hooks, char* message,
                                   size_t message_size);
// Writes the first configuration, this node as the only voter, into an empty directory.
enum dvs_raft_status dvs_raft_bootstrap(struct dvs_raft_group* group);
// Loads the log, restores the snapshot and begins. After a failure the group must still be closed.
enum dvs_raft_status dvs_raft_start(struct dvs_raft_group* group);
// Begins to come to rest; true once closing is safe, after a few turns of the loop as a rule.
// Neither this nor closing is for within a hook.
bool dvs_raft_settle(struct dvs_raft_group* group);
// Ends every request, waits (through the loop) for writes under way, then calls `closed`.
void dvs_raft_close(struct dvs_raft_group* group);
void dvs_raft_free(struct dvs_raft_group* group);

// Copies `data`. `index` gets the place of the entry if it will be committed.
enum dvs_raft_status dvs_raft_propose(struct dvs_raft_group* group, void* request, const void* data,
                                      size_t size, uint64_t* index);
enum dvs_raft_status dvs_raft_barrier(struct dvs_raft_group* group, void* request);
// A server is added as a spare; `role` counts for DVS_RAFT_ASSIGN only.
enum dvs_raft_change { DVS_RAFT_ADD, DVS_RAFT_ASSIGN, DVS_RAFT_REMOVE };
enum dvs_raft_status dvs_raft_change(struct dvs_raft_group* group, void* request,
                                     enum dvs_raft_change change, uint64_t node,
                                     enum dvs_raft_role role);
// Done with DVS_RAFT_OK when the leader is another; DVS_RAFT_NO_CONNECTION when it stayed. `node`
// 0: any voter.
enum dvs_raft_status dvs_raft_transfer(struct dvs_raft_group* group, void* request, uint64_t node);
// Takes the descriptor: a stream that `node` has opened towards this one.
enum dvs_raft_status dvs_raft_accept(struct dvs_raft_group* group, uint64_t node, int fd);

// From the next applied entry on.
void dvs_raft_set_snapshot_entries(struct dvs_raft_group* group, unsigned entries);

struct dvs_raft_view {
  enum dvs_raft_position position;
  uint64_t term;
  uint64_t leader;  // 0: unknown
  uint64_t committed;
  uint64_t applied;
  uint64_t last;  // of the log, committed or not
  unsigned servers;
  bool is_changing;  // a change of the configuration is not committed yet
};
void dvs_raft_look(struct dvs_raft_group* group, struct dvs_raft_view* view);
void dvs_raft_server(const struct dvs_raft_group* group, unsigned position, uint64_t* node,
                     enum dvs_raft_role* role);
// The last error in libraft's words.
const char* dvs_raft_message(struct dvs_raft_group* group);

// Copies the whole state into the snapshot being taken. 0, or no memory.
int dvs_raft_put(struct dvs_raft_sink* sink, const void* data, size_t size);

#ifdef __cplusplus
}
#endif
