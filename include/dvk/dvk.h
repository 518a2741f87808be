/* libdvk for C: the calls of <dvk/endpoint.hpp>, one by one. The C++ header says more about each.
 *
 * Functions return 0 (or a count or number where said so) or a negative error code, -DVK_E_...;
 * after an error dvk_last_error() has a text for people. Timeouts are in milliseconds: -1 means no
 * limit, 0 do not block. An endpoint is used by one thread at a time; dvk_cancel alone may come
 * from anywhere. */
#ifndef DVK_DVK_H
#define DVK_DVK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DVK_MESSAGE_BYTES_MAX 65536
#define DVK_NAME_BYTES_MAX 255

/* The error catalogue. Up to 19: refused, nothing happened. 20 to 39: the same call may succeed
 * later. 40 to 59: the other side may or may not have acted. From 60: the object is of no further
 * use. */
enum dvk_error {
  DVK_E_INVALID_ARGUMENT = 1,
  DVK_E_MESSAGE_TOO_LARGE = 2,
  DVK_E_UNKNOWN_ENDPOINT = 3,
  DVK_E_NAME_IN_USE = 4,
  DVK_E_NOT_PERMITTED = 5,
  DVK_E_GRANT_DENIED = 6,
  DVK_E_GRANT_REVOKED = 7,
  DVK_E_BAD_ADDRESS = 8,
  DVK_E_UNSUPPORTED = 9,
  DVK_E_WOULD_BLOCK = 20,
  DVK_E_QUEUE_FULL = 21,
  DVK_E_NOT_READY = 22,
  DVK_E_PEER_DIED = 40,
  DVK_E_UNREACHABLE = 41,
  DVK_E_CANCELLED = 42,
  DVK_E_DEADLINE = 43,
  DVK_E_DETACHED = 60,
  DVK_E_MOVED = 61,
  DVK_E_PROTOCOL_VIOLATION = 62,
  DVK_E_VERSION_MISMATCH = 63,
  DVK_E_SYSTEM = 67
};

typedef struct dvk_endpoint dvk_endpoint;

/* Address of one life of an endpoint. All zero: no endpoint. */
typedef struct dvk_address {
  uint32_t container;
  uint32_t reserved;
  uint64_t id;
  uint64_t incarnation;
} dvk_address;

enum dvk_kind {
  DVK_MESSAGE = 0,
  DVK_REQUEST = 1,
  DVK_NOTIFY = 2,
  DVK_PEER_END = 3,
  DVK_PROMOTED = 4
};

/* What came in. The payload is in the caller's buffer. */
typedef struct dvk_incoming {
  int kind;   /* enum dvk_kind */
  int reason; /* DVK_PEER_END: enum dvk_error, positive */
  dvk_address from;
  uint64_t call; /* DVK_REQUEST: for dvk_reply */
  uint64_t bits; /* DVK_NOTIFY */
  uint64_t lost; /* DVK_PEER_END: messages that are or may be lost */
  size_t bytes;  /* of payload */
} dvk_incoming;

enum dvk_access { DVK_READ = 1, DVK_WRITE = 2, DVK_READ_WRITE = 3 };

/* Text of the last error of this thread; never NULL. */
const char* dvk_last_error(void);
/* The name of a (negative or positive) error code, e.g. "peer_died". */
const char* dvk_error_name(int code);

/* `socket` NULL: $DVK_SOCKET or /run/dvs/dvk.sock. `name` NULL: none. The endpoint is the caller's
 * until dvk_close, which ends its life. */
int dvk_open(const char* socket, const char* name, int is_backup, int timeout_ms,
             dvk_endpoint** out);
void dvk_close(dvk_endpoint* endpoint);
/* The address of this endpoint. */
int dvk_self(const dvk_endpoint* endpoint, dvk_address* out);
/* The node this endpoint is on, positive. */
int dvk_node(const dvk_endpoint* endpoint);
/* Who holds the name now. Fails with DVK_E_UNKNOWN_ENDPOINT if nobody does. */
int dvk_lookup(dvk_endpoint* endpoint, const char* name, int timeout_ms, dvk_address* out);

/* Queues one message; blocks while the queue towards the peer is full and, the first time, until
 * the peer is found. Should the message be lost later, dvk_receive tells (DVK_PEER_END). */
int dvk_send(dvk_endpoint* endpoint, const dvk_address* to, const void* payload, size_t bytes,
             int timeout_ms);
/* Waits until the peer has taken all that was sent to it. */
int dvk_flush(dvk_endpoint* endpoint, const dvk_address* to, int timeout_ms);
/* What comes next. `from` NULL: from anyone. The buffer must hold DVK_MESSAGE_BYTES_MAX
 * (DVK_E_INVALID_ARGUMENT). */
int dvk_receive(dvk_endpoint* endpoint, const dvk_address* from, void* buffer, size_t buffer_bytes,
                int timeout_ms, dvk_incoming* out);
/* The next request; everything else is left for dvk_receive. The buffer as above. */
int dvk_receive_request(dvk_endpoint* endpoint, void* buffer, size_t buffer_bytes, int timeout_ms,
                        dvk_incoming* out);
/* Answers a request. Never blocks; that the caller has gone is no error. */
int dvk_reply(dvk_endpoint* endpoint, const dvk_incoming* request, const void* payload,
              size_t bytes);
/* Sends a request and waits for its reply. Returns the size of the reply, which must fit
 * (DVK_E_MESSAGE_TOO_LARGE: it did not, and is lost). */
int64_t dvk_call(dvk_endpoint* endpoint, const dvk_address* to, const void* payload, size_t bytes,
                 void* reply, size_t reply_bytes, int timeout_ms);
/* Sets bits for the peer; bits that are set again before it takes them are one. Blocks only the
 * first time, until the peer is found. */
int dvk_notify(dvk_endpoint* endpoint, const dvk_address* to, uint64_t bits);
/* Asks for a DVK_PEER_END when the peer ends or becomes unreachable. */
int dvk_watch(dvk_endpoint* endpoint, const dvk_address* peer);

/* Lets `to` (NULL: every endpoint of the container) reach this memory until dvk_revoke, or until
 * this endpoint ends or moves. The number of the grant is written to *grant. */
int dvk_grant(dvk_endpoint* endpoint, void* memory, size_t bytes, enum dvk_access access,
              const dvk_address* to, uint64_t* grant);
/* Ends a grant, and returns when no copy by way of a daemon is touching the memory any more. */
int dvk_revoke(dvk_endpoint* endpoint, uint64_t grant, int timeout_ms);
/* Copies from, or to, granted memory of another endpoint, `offset` bytes into it. */
int dvk_copy_from(dvk_endpoint* endpoint, const dvk_address* source, uint64_t grant,
                  uint64_t offset, void* target, size_t bytes, int timeout_ms);
int dvk_copy_to(dvk_endpoint* endpoint, const void* source, size_t bytes, const dvk_address* target,
                uint64_t grant, uint64_t offset, int timeout_ms);
/* Copies between two other endpoints, both of which have given a grant to this one. */
int dvk_copy(dvk_endpoint* endpoint, const dvk_address* source, uint64_t source_grant,
             uint64_t source_offset, const dvk_address* target, uint64_t target_grant,
             uint64_t target_offset, uint64_t bytes, int timeout_ms);

/* Moves the endpoint, and `state` with it, to the process that calls dvk_adopt on that node. On
 * success only dvk_close may follow; on any error the endpoint goes on here. */
int dvk_move_to(dvk_endpoint* endpoint, int node, const void* state, size_t bytes, int timeout_ms);
/* Waits for an endpoint that is being moved to this node and takes it over. `state` receives what
 * was given to dvk_move_to, allocated with malloc; the caller frees it. `name` NULL: `address` says
 * which endpoint. */
int dvk_adopt(const char* socket, const char* name, const dvk_address* address, int timeout_ms,
              dvk_endpoint** out, void** state, size_t* state_bytes);

/* Ends the blocking call that is under way, or the next one, with DVK_E_CANCELLED. From any thread,
 * as long as the endpoint is not closed. */
void dvk_cancel(dvk_endpoint* endpoint);

/* For event loops: as Endpoint::poll_fd, prepare_sleep and serve. dvk_prepare_sleep returns how
 * many milliseconds the loop may sleep at most, -1 for no limit, or an error below -1 as -1000 -
 * code. */
int dvk_poll_fd(const dvk_endpoint* endpoint);
int dvk_prepare_sleep(dvk_endpoint* endpoint);
int dvk_serve(dvk_endpoint* endpoint);

#ifdef __cplusplus
}
#endif

#endif
