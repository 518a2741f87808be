// Consensus for one group of nodes: a log that all of them apply in the same order, kept on disk.
//
// The engine behind it is libraft (docs/decisions/0013-consensus-by-libraft.md); nothing of it
// shows here. An Engine is one member of one group and has a directory and a thread of its own. It
// opens no sockets: the streams between members are handed out and taken in as descriptors.
//
// Threads: every function of Engine may be called from any thread. A StateMachine is called on the
// engine's thread only. Everything that is reported (completions and EngineUpper) is handed to
// EngineConfig::post, from the engine's thread or from the caller's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "runtime/fd.hpp"

namespace dvs::cluster {

// What a member is in the group: a voter counts for the majority, a standby keeps the log, a spare
// is only known.
enum class Role : std::uint8_t { standby, voter, spare };

// What a member does at present. `failed`: it could not go on (its disk, as a rule) and has to be
// stopped; status().failure says why.
enum class Position : std::uint8_t { follower, candidate, leader, failed };

constexpr const char* name_of(Position position) {
  switch (position) {
    case Position::follower: return "follower";
    case Position::candidate: return "candidate";
    case Position::leader: return "leader";
    case Position::failed: return "failed";
  }
  return "unknown";
}

struct Member {
  NodeId node;
  Role role;

  friend bool operator==(const Member&, const Member&) = default;
};

struct EngineStatus {
  Position position = Position::follower;
  std::uint64_t term = 0;
  NodeId leader = no_node;  // no_node: unknown
  std::uint64_t committed = 0;
  std::uint64_t applied = 0;
  std::uint64_t last = 0;  // end of the own log, committed or not
  // As far as this member knows; one that was removed while it could not be reached never hears of
  // it.
  std::vector<Member> members{};
  bool is_changing = false;  // a change of the members is not committed yet
  std::string failure{};

  friend bool operator==(const EngineStatus&, const EngineStatus&) = default;
};

// The nodes that vote, ascending.
std::vector<NodeId> voters_of(const EngineStatus& status);

// What the log is about. Deterministic: the same calls in the same order give the same state on
// every member. It is kept in memory: after a restart the engine restores the last snapshot and
// applies what follows again. Called on the engine's thread only; must not block, throw, or call
// the engine.
class StateMachine {
 public:
  virtual ~StateMachine() = default;
  // A committed entry. Indexes rise, with gaps (changes of the members and barriers have some). The
  // answer goes to whoever proposed the entry, if that was here.
  virtual Bytes apply(std::uint64_t index, BytesView entry) = 0;
  // The whole state. It is copied, written and sent as one piece: keep it small.
  virtual Bytes snapshot() = 0;
  // Replaces the state by that of after `index`. A failure at the start makes the start fail, a
  // later one makes the engine fail.
  virtual Result<void> restore(std::uint64_t index, BytesView snapshot) = 0;
};

// Whoever runs the engine. Must outlive it. Called through `post`; what is posted but not yet run
// when stop() returns does not reach it any more, provided that it runs on the thread that called
// stop().
class EngineUpper {
 public:
  virtual ~EngineUpper() = default;
  // May come before start() has returned.
  virtual void on_role_change(Position position, std::uint64_t term, NodeId leader) = 0;
  // Carry this stream (a non-blocking stream socket) to `to`, whose accept_stream gets the other
  // end. Close it if that is not possible, at once or later: the engine asks again after
  // connect_retry. Bytes flow from here to there only. Never let it stall for ever without closing
  // it.
  virtual void wants_stream(NodeId to, runtime::Fd stream) = 0;
};

struct EngineConfig {
  NodeId node = no_node;
  // Of this member of this group alone; made if it is missing. Not on a network file system.
  std::filesystem::path directory{};
  // Only where the directory is new: whether to begin the group as its first and only voter, or to
  // wait until the group adds this node.
  bool is_first = false;
  // Runs a function somewhere. Must not block and must not call back into `post`'s own locks.
  std::function<void(std::function<void()>)> post{};

  std::chrono::milliseconds election_timeout{150};
  std::chrono::milliseconds heartbeat{30};
  std::chrono::milliseconds connect_retry{100};
  // What one round of catching up may take for a node that is to become a voter (there are ten).
  std::chrono::milliseconds catch_up_round{5000};
  // A snapshot is taken after so many entries or so many bytes of them, whichever comes first; the
  // last `snapshot_trailing` entries stay in the log for members that are a little behind.
  unsigned snapshot_entries = 8192;
  std::size_t snapshot_bytes = std::size_t{16} << 20;
  unsigned snapshot_trailing = 128;
  // Bounds. What is proposed and not yet completed counts; beyond it proposals get queue_full.
  std::size_t proposal_bytes_max = std::size_t{1} << 20;
  std::size_t outstanding_max = 4096;
  std::size_t outstanding_bytes_max = std::size_t{32} << 20;
};

struct Committed {
  std::uint64_t index;
  Bytes answer;  // what the own state machine answered
};

// Every function below that takes a callback calls it exactly once, through `post`, also when the
// engine stops. Errors that all of them share:
//   not_leader    nothing happened; the text and status().leader say who leads
//   not_ready     nothing happened; no leader is known, or leadership is just being handed over
//   queue_full    nothing happened; too much is under way
//   unreachable   outcome unknown; leadership was lost, the disk failed (os_errno) or the engine
//                 was stopped while it was under way
//   detached      nothing happened; the engine has been stopped
//   system        nothing happened; the engine has failed, or the disk is full
// A leader that is cut off from the majority steps down within two election timeouts, so a proposal
// to it ends with unreachable then; it may still be committed by the majority later.
class Engine {
 public:
  using OnVoid = std::function<void(Result<void>)>;

  // Blocks while the log is read and the state machine is brought up to the last snapshot.
  // Errors: invalid_argument (a setting out of range, another node's directory), name_in_use
  // (another engine has the directory), version_mismatch (a newer release wrote it),
  // protocol_violation (it is damaged), system. All name the directory.
  static Result<std::unique_ptr<Engine>> start(EngineConfig config, StateMachine& machine,
                                               EngineUpper& upper);
  // Stops.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Appends an entry; completed when a majority has it on disk and it has been applied here.
  // Also: message_too_large.
  void propose(Bytes entry, std::function<void(Result<Committed>)> done);
  // Completed when everything proposed before, by anyone, has been applied here, and this node has
  // been the leader after that: what the state machine says then is no older than the call.
  void barrier(std::function<void(Result<std::uint64_t>)> done);

  // Changes of the members, one at a time: a second one gets not_ready. Each leaves the group as it
  // says, so repeating it is safe. `add` also waits until the node has caught up with the log if it
  // is to be a voter; a node that does not gets not_ready and stays a spare. Also: invalid_argument
  // (unknown node; the leader itself, which has to transfer first).
  void add(NodeId node, Role role, OnVoid done);
  void assign(NodeId node, Role role, OnVoid done);
  void remove(NodeId node, OnVoid done);
  // Hands leadership to `node`, or with no_node to any other voter. Also: deadline (it was not
  // taken over within an election timeout), invalid_argument (not another voter).
  void transfer(NodeId node, OnVoid done);

  // A stream that node `from` wanted and somebody trustworthy carried here.
  void accept_stream(NodeId from, runtime::Fd stream);

  // A copy as of the last turn of the engine's loop.
  EngineStatus status() const;

  // Ends everything under way, the streams and the thread; every callback has been given to `post`
  // when it returns. Takes no longer than the disk needs for the write under way. Idempotent. Not
  // from the engine's own thread, that is not from within a function that `post` runs inline.
  void stop();

 private:
  class Loop;
  explicit Engine(std::unique_ptr<Loop> loop);

  std::unique_ptr<Loop> loop_;
};

}  // namespace dvs::cluster
