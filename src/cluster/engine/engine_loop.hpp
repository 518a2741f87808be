// The engine's thread: its uv loop, its queue, and what is under way.
//
// Members under `mutex_` are shared with other threads; all others belong to the engine's thread,
// or to the caller of start() and stop() while there is none. No lock is held while anything
// foreign (post, the state machine, libraft) is called.
#pragma once

#include <uv.h>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cluster/engine/engine.hpp"
#include "cluster/engine/engine_directory.hpp"
#include "cluster/engine/raft_group.h"

namespace dvs::cluster {

using Completion = std::function<void(Result<Committed>)>;

struct EngineRequest {
  enum class Kind : std::uint8_t { propose, barrier, add, assign, remove, transfer, accept };

  Kind kind;
  NodeId node = no_node;
  Role role = Role::spare;
  Bytes entry{};
  runtime::Fd stream{};
  Completion done{};

  std::size_t counted_bytes = 0;  // as taken from the bounds
  std::uint64_t index = 0;        // of a proposal that is under way
  Bytes answer{};
  bool is_added = false;  // the first step of an add is committed, the role is to follow
};

class Engine::Loop {
 public:
  Loop(EngineConfig config, StateMachine& machine, EngineUpper& upper);
  ~Loop();

  Result<void> start();
  void stop();
  // From any thread.
  void submit(EngineRequest request);
  EngineStatus status() const;

 private:
  using Request = std::unique_ptr<EngineRequest>;

  // The thread.
  Result<void> start_thread();
  void run(std::promise<Result<void>> started);
  Result<void> open_group();
  void close_group();
  void on_wake();
  void before_sleep();
  void publish();
  void report(const EngineStatus& now);

  // Requests.
  void handle(Request request);
  dvs_raft_status hand_over(EngineRequest& request);
  dvs_raft_status change(EngineRequest& request);
  dvs_raft_status change_member(EngineRequest& request, const Member* member);
  void go_on_adding(EngineRequest* request);
  void on_done(EngineRequest* request, dvs_raft_status status, std::uint64_t index);
  void finish(EngineRequest* request, Result<Committed> result);
  void post_result(Completion done, Result<Committed> result);
  Error refused(dvs_raft_status status);
  bool reserve(EngineRequest& request, Error& error);
  static bool is_change(const EngineRequest& request);

  // What libraft calls.
  dvs_raft_hooks hooks();
  int apply(std::uint64_t index, BytesView entry);
  int snapshot(dvs_raft_sink* sink);
  int restore(std::uint64_t index, BytesView snapshot);
  int connect(NodeId to);

  EngineConfig config_;
  StateMachine& machine_;
  EngineUpper& upper_;
  std::shared_ptr<std::atomic<bool>> reaches_upper_ = std::make_shared<std::atomic<bool>>(true);
  std::unique_ptr<EngineDirectory> directory_;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::vector<Request> queue_;         // mutex_
  std::size_t outstanding_ = 0;        // mutex_
  std::size_t outstanding_bytes_ = 0;  // mutex_
  bool is_stopping_ = true;            // mutex_; true also before the start
  EngineStatus status_;                // mutex_

  uv_loop_t loop_{};
  uv_async_t wake_{};
  uv_prepare_t before_sleep_{};
  dvs_raft_group* group_ = nullptr;
  bool wants_close_ = false;
  std::uint64_t close_wanted_ms_ = 0;
  bool is_closing_ = false;
  std::unordered_map<EngineRequest*, Request> active_;
  std::unordered_map<std::uint64_t, EngineRequest*> by_index_;
  std::vector<EngineRequest*> adding_;  // to be gone on with in the next turn
  EngineRequest* changing_ = nullptr;   // the one change of the members under way
  std::unordered_map<std::uint16_t, std::uint64_t> tried_ms_;  // when a stream was last wanted
  std::size_t bytes_since_snapshot_ = 0;
  bool is_snapshot_due_ = false;
  std::string failure_;
  EngineStatus view_;  // of the last turn
};

}  // namespace dvs::cluster
