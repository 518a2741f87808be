// libdvk: an endpoint in this process, and everything it can do.
//
// An endpoint is a mailbox that other endpoints of the same container reach by its address or name,
// wherever they run; the node's daemon (dvsd) introduces them and is then out of the way as far as
// it can be. What is promised about delivery stands in the handbook, "The delivery law".
//
// An Endpoint is used by one thread at a time (several endpoints in several threads need no locks).
// All calls that may block take a Deadline and can be interrupted by a Canceller from any thread.
// The library starts no threads and handles no signals: an endpoint is only served while the
// program is in one of its calls, or runs it in an event loop (poll_fd, or <dvk/async.hpp>). Errors
// that any call may end with, beside those it names: detached (the daemon is gone), moved (the
// endpoint lives elsewhere now).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dvk/deadline.hpp>
#include <dvs/bytes.hpp>
#include <dvs/export.hpp>
#include <dvs/ids.hpp>
#include <dvs/result.hpp>

namespace dvk {

using dvs::Address;
using dvs::as_bytes;
using dvs::as_text;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Error;
using dvs::NodeId;
using dvs::Result;

constexpr std::size_t max_message_bytes = 64 * 1024;
constexpr std::size_t max_name_bytes = 255;

struct Options {
  // The attach socket of the container. Empty: $DVK_SOCKET, else /run/dvs/dvk.sock.
  std::string socket{};
  // The name to bind, at most max_name_bytes. Empty: none, the endpoint is known by its address
  // alone.
  std::string name{};
  // Stand in for the endpoint that holds `name`, and take its place when it dies.
  bool is_backup = false;
  // How long the daemon may take to answer.
  Deadline deadline = std::chrono::seconds(10);
};

// What `receive` gives.
struct Incoming {
  enum class Kind : std::uint8_t {
    message,   // `payload`, sent by `send`
    request,   // `payload`, to be answered by `reply`
    notify,    // `bits`, all that came from this sender since the last was taken
    peer_end,  // a watched peer ended or became unreachable, or messages to a peer were lost:
               // `reason`
    promoted,  // this backup is the primary now, under a new address
  };
  Kind kind{};
  Address from{};
  Bytes payload{};
  std::uint64_t bits = 0;
  std::uint64_t call = 0;  // request: the caller's number, part of what `reply` needs
  Errc reason{};           // peer_end: peer_died, unreachable, unknown_endpoint, not_permitted
  // peer_end: so many messages and notifies to the peer are lost, or may be (reason unreachable).
  std::uint64_t lost = 0;

  std::string_view text() const { return as_text(payload); }
};

// A request that was received and not yet answered. Plain data: may be kept, copied and, with the
// endpoint, moved to another node.
struct Request {
  Address from{};
  std::uint64_t call = 0;
  Bytes payload{};

  std::string_view text() const { return as_text(payload); }
};

enum class CallId : std::uint64_t {};
enum class CopyId : std::uint64_t {};

// A right to reach a range of another endpoint's memory. A number that means something only
// together with the endpoint that gave it; send it to whoever shall use it.
enum class GrantId : std::uint64_t {};
enum class Access : std::uint32_t { read = 1, write = 2, read_write = 3 };

// One side of a copy: `offset` bytes into a granted range.
struct Remote {
  Address endpoint{};
  GrantId grant{};
  std::uint64_t offset = 0;
};

// Makes the blocking call that is under way, or the next one, end with `cancelled`. Safe to use
// from any thread and from signal handlers, also after the endpoint is gone.
class EndpointImpl;
struct Adopted;

class DVS_EXPORT Canceller {
 public:
  void cancel() const noexcept;

 private:
  friend class Endpoint;
  friend class EndpointImpl;
  struct State;
  explicit Canceller(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class DVS_EXPORT Endpoint {
 public:
  // Attaches to the daemon. Errors: system (no daemon at the socket; os_errno says why),
  // name_in_use, not_permitted, invalid_argument, version_mismatch, unreachable (the directory),
  // deadline.
  static Result<Endpoint> open(const Options& options = {});
  // Takes over the endpoint called options.name (or, if that is empty, of this address) that is
  // being moved to this node by move_to; waits for it until options.deadline. Errors: as open;
  // cancelled (the source kept it).
  static Result<Adopted> adopt(const Options& options, const Address& address = {});

  Endpoint(Endpoint&&) noexcept;
  Endpoint& operator=(Endpoint&&) noexcept;
  // Ends the endpoint's life: peers learn peer_died. What was sent and not yet taken may be lost;
  // `flush` first where that matters.
  ~Endpoint();

  const Address& address() const;
  NodeId node() const;

  // --- Names ---
  // Who holds the name now. Errors: unknown_endpoint, unreachable, deadline, cancelled.
  Result<Address> lookup(std::string_view name, Deadline deadline = std::chrono::seconds(10));
  // The nodes of the current view. Errors: deadline, cancelled.
  Result<std::vector<NodeId>> nodes(Deadline deadline = std::chrono::seconds(10));

  // --- Messages. Payloads have at most max_message_bytes (message_too_large). ---
  // Sends one message. Returns when it is queued; blocks while the queue towards the peer is full,
  // and, the first time, until the peer is found. Should the message get lost later, `receive`
  // tells (peer_end). Errors: unknown_endpoint, peer_died, not_permitted, unreachable (when finding
  // it), queue_full (deadline is now), deadline, cancelled.
  Result<void> send(const Address& to, BytesView payload, Deadline deadline = {});
  // Waits until all that was sent to the peer has been taken into its process. Errors: peer_died,
  // unreachable, deadline, cancelled.
  Result<void> flush(const Address& to, Deadline deadline = {});
  // Whatever comes next, from anyone or from one. Errors: deadline (would_block with
  // Deadline::now()), cancelled.
  Result<Incoming> receive(Deadline deadline = {});
  Result<Incoming> receive_from(const Address& from, Deadline deadline = {});
  // The next request, leaving everything else where it is. Errors: as receive.
  Result<Request> receive_request(Deadline deadline = {});
  // Answers. The caller may be gone or no longer wait; that is not an error. Never blocks.
  Result<void> reply(const Request& request, BytesView payload);
  Result<void> reply(const Incoming& request, BytesView payload);
  // Sends a request and waits for its reply, as one. Ends in exactly one of: the reply; peer_died
  // and unreachable (the peer may or may not have acted); deadline and cancelled (likewise);
  // unknown_endpoint, not_permitted, queue_full (it has not).
  Result<Bytes> call(const Address& to, BytesView payload, Deadline deadline = {});
  // The same in two steps. start_call blocks only the first time, until the peer is found. Unlike
  // `call`, a deadline of finish_call leaves the call under way.
  Result<CallId> start_call(const Address& to, BytesView payload);
  Result<Bytes> finish_call(CallId call, Deadline deadline = {});
  void cancel_call(CallId call);
  // Sets bits for the peer. Bits that are set again before the peer takes them are one. Blocks only
  // the first time, until the peer is found. Errors: peer_died, invalid_argument; unknown_endpoint,
  // not_permitted, unreachable (when finding it).
  Result<void> notify(const Address& to, std::uint64_t bits);
  // Asks for a peer_end when the peer ends or becomes unreachable.
  Result<void> watch(const Address& peer);

  // --- Memory ---
  // Lets `to` (no address: every endpoint of the container) read or write this memory until the
  // grant is revoked or the endpoint ends or moves. The memory must stay mapped that long. Errors:
  // queue_full (1,023 grants are out), invalid_argument.
  Result<GrantId> grant(std::span<std::byte> memory, Access access, const Address& to = {});
  Result<GrantId> grant(std::span<const std::byte> memory, const Address& to = {});
  // Ends a grant. When it returns no copy by way of a daemon is touching the memory any more, and
  // none by a peer will begin; a peer of the same trust domain may be finishing the piece (1 MiB at
  // most) that it is copying. Errors: grant_denied, grant_revoked, deadline.
  Result<void> revoke(GrantId grant, Deadline deadline = std::chrono::seconds(10));
  // Copies any number of bytes. An error leaves it unspecified how much was copied. Errors:
  // grant_denied, grant_revoked, bad_address, peer_died, unreachable, unknown_endpoint,
  // not_permitted, deadline, cancelled (after both, the bytes may still arrive until the memory's
  // owner revokes or ends).
  Result<void> copy_from(const Remote& source, std::span<std::byte> target, Deadline deadline = {});
  Result<void> copy_to(BytesView source, const Remote& target, Deadline deadline = {});
  // Between two other endpoints, both of which have given a grant to this one.
  Result<void> copy(const Remote& source, const Remote& target, std::uint64_t bytes,
                    Deadline deadline = {});
  // The same in two steps, so that many are under way (at most 1,024). The memory must stay until
  // finish_copy has returned something other than deadline or cancelled.
  Result<CopyId> start_copy_from(const Remote& source, std::span<std::byte> target);
  Result<CopyId> start_copy_to(BytesView source, const Remote& target);
  Result<CopyId> start_copy(const Remote& source, const Remote& target, std::uint64_t bytes);
  Result<void> finish_copy(CopyId copy, Deadline deadline = {});

  // --- Moving to another node ---
  // Freezes the endpoint, carries its queues, calls and conversations to `target` and hands them,
  // with `state`, to the process that calls adopt there. On success this object is of no further
  // use (moved). On any error the endpoint goes on here as if nothing had been tried: deadline or
  // cancelled (nobody adopted it in time), unreachable, invalid_argument (this node, or not a
  // member). Grants do not move: they end, as does the memory they speak of. A backup cannot be
  // moved.
  Result<void> move_to(NodeId target, BytesView state = {},
                       Deadline deadline = std::chrono::seconds(30));

  // --- Interrupting and event loops ---
  Canceller canceller() const;
  // For event loops: a descriptor that becomes readable when the endpoint should be served. Before
  // each sleep call prepare_sleep: it returns how long the loop may sleep (zero: not at all, there
  // is work). After it call the non-blocking forms (Deadline::now()) of what is wanted, or serve.
  int poll_fd() const;
  Result<dvs::Duration> prepare_sleep();
  // Takes in and sends out what there is, without blocking.
  Result<void> serve();

 private:
  friend struct Adopted;
  explicit Endpoint(std::unique_ptr<EndpointImpl> impl);

  std::unique_ptr<EndpointImpl> impl_;
};

// An endpoint that has arrived, and what its old process gave to move_to.
struct Adopted {
  Endpoint endpoint;
  Bytes state;
};

}  // namespace dvk
