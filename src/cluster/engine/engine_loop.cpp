#include "cluster/engine/engine_loop.hpp"

#include <pthread.h>
#include <signal.h>

#include <system_error>

#include <fmt/format.h>

#include "base/assert.hpp"
#include "cluster/engine/engine_errors.hpp"

namespace dvs::cluster {

namespace {

constexpr std::uint64_t close_patience_ms = 10'000;

Role role_of(dvs_raft_role role) {
  if (role == DVS_RAFT_VOTER) return Role::voter;
  return role == DVS_RAFT_STANDBY ? Role::standby : Role::spare;
}

Position position_of(dvs_raft_position position) {
  switch (position) {
    case DVS_RAFT_FOLLOWER: return Position::follower;
    case DVS_RAFT_CANDIDATE: return Position::candidate;
    case DVS_RAFT_LEADER: return Position::leader;
    case DVS_RAFT_UNAVAILABLE: break;
  }
  return Position::failed;
}

void read_members(const dvs_raft_group* group, unsigned count, std::vector<Member>& members) {
  members.resize(count);
  for (unsigned i = 0; i < count; ++i) {
    std::uint64_t node = 0;
    dvs_raft_role role = DVS_RAFT_SPARE;
    dvs_raft_server(group, i, &node, &role);
    members[i] = {static_cast<NodeId>(node), role_of(role)};
  }
}

}  // namespace

Engine::Loop::Loop(EngineConfig config, StateMachine& machine, EngineUpper& upper)
    : config_(std::move(config)), machine_(machine), upper_(upper) {}

Engine::Loop::~Loop() {
  stop();
}

Result<void> Engine::Loop::start() {
  DVS_TRY(auto directory, EngineDirectory::open(config_.directory, config_.node));
  directory_ = std::make_unique<EngineDirectory>(std::move(directory));
  auto started = start_thread();
  if (started) started = directory_->complete();
  if (!started) stop();
  return started;
}

Result<void> Engine::Loop::start_thread() {
  std::promise<Result<void>> promise;
  auto started = promise.get_future();
  // Signals are the daemon's affair; and a stream that broke must not raise SIGPIPE here. The
  // threads that write for libuv inherit this.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  Result<void> result;
  try {
    thread_ =
        std::thread([this, promise = std::move(promise)]() mutable { run(std::move(promise)); });
  } catch (const std::system_error& error) {
    result = fail_os("start the engine's thread", error.code().value());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result ? started.get() : result;
}

void Engine::Loop::run(std::promise<Result<void>> started) {
  ::pthread_setname_np(::pthread_self(), "dvs-engine");
  if (const int code = uv_loop_init(&loop_); code != 0) {
    started.set_value(fail_os("make an event loop", -code));
    return;
  }
  loop_.data = this;
  uv_async_init(&loop_, &wake_,
                [](uv_async_t* wake) { static_cast<Loop*>(wake->loop->data)->on_wake(); });
  uv_prepare_init(&loop_, &before_sleep_);
  uv_prepare_start(&before_sleep_, [](uv_prepare_t* prepare) {
    static_cast<Loop*>(prepare->loop->data)->before_sleep();
  });
  auto opened = open_group();
  if (opened) {
    publish();
    const std::lock_guard guard(mutex_);
    is_stopping_ = false;
  } else {
    close_group();
  }
  started.set_value(std::move(opened));
  uv_run(&loop_, UV_RUN_DEFAULT);
  if (group_ != nullptr) dvs_raft_free(group_);
  group_ = nullptr;
  DVS_ASSERT(uv_loop_close(&loop_) == 0);
}

Result<void> Engine::Loop::open_group() {
  const std::string directory = config_.directory.string();
  const dvs_raft_settings settings{
      .directory = directory.c_str(),
      .node = raw(config_.node),
      .election_timeout_ms = static_cast<unsigned>(config_.election_timeout.count()),
      .heartbeat_ms = static_cast<unsigned>(config_.heartbeat.count()),
      .connect_retry_ms = static_cast<unsigned>(config_.connect_retry.count()),
      .catch_up_ms = static_cast<unsigned>(config_.catch_up_round.count()),
      .snapshot_entries = config_.snapshot_entries,
      .snapshot_trailing = config_.snapshot_trailing};
  const dvs_raft_hooks called = hooks();
  char message[512] = {};
  auto status = dvs_raft_open(&group_, &loop_, &settings, &called, message, sizeof message);
  if (status != DVS_RAFT_OK) {
    group_ = nullptr;
    return std::unexpected(start_error(status, directory + ": " + message));
  }
  if (directory_->is_new() && config_.is_first) status = dvs_raft_bootstrap(group_);
  if (status == DVS_RAFT_OK) status = dvs_raft_start(group_);
  if (status == DVS_RAFT_OK) return {};
  const std::string why = failure_.empty() ? dvs_raft_message(group_) : failure_;
  return std::unexpected(start_error(status, directory + ": " + why));
}

// Ends the loop, through libraft if it has begun.
void Engine::Loop::close_group() {
  is_closing_ = true;
  for (EngineRequest* request : std::exchange(adding_, {})) {
    finish(request, std::unexpected(lost(DVS_RAFT_STOPPED)));
  }
  if (group_ != nullptr) return dvs_raft_close(group_);
  uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&before_sleep_), nullptr);
}

void Engine::Loop::stop() {
  DVS_ASSERT(thread_.get_id() != std::this_thread::get_id());
  {
    const std::lock_guard guard(mutex_);
    // After this nobody else touches wake_, so that the thread may close it.
    if (!std::exchange(is_stopping_, true)) uv_async_send(&wake_);
  }
  if (thread_.joinable()) thread_.join();
  reaches_upper_->store(false);
  directory_.reset();
}

void Engine::Loop::on_wake() {
  std::vector<Request> arrived;
  bool is_stopping = false;
  {
    const std::lock_guard guard(mutex_);
    arrived.swap(queue_);
    is_stopping = is_stopping_;
  }
  if (is_closing_) return;
  for (EngineRequest* request : std::exchange(adding_, {})) go_on_adding(request);
  for (Request& request : arrived) {
    if (!is_stopping) {
      handle(std::move(request));
    } else if (request->done) {
      EngineRequest* stays = request.get();
      active_.emplace(stays, std::move(request));
      finish(stays, std::unexpected(refused(DVS_RAFT_STOPPED)));
    }
  }
  wants_close_ = is_stopping;
}

void Engine::Loop::before_sleep() {
  publish();
  if (!wants_close_ || is_closing_) return;
  // Not in the middle of what libraft cannot be closed in; but if the disk hangs, not for ever
  // either.
  const std::uint64_t now_ms = uv_now(&loop_);
  if (close_wanted_ms_ == 0) close_wanted_ms_ = now_ms;
  if (dvs_raft_settle(group_) || now_ms - close_wanted_ms_ > close_patience_ms) close_group();
}

// Once per turn, before the loop sleeps: what others see.
void Engine::Loop::publish() {
  if (group_ == nullptr || is_closing_) return;
  dvs_raft_view view{};
  dvs_raft_look(group_, &view);
  const EngineStatus before = view_;
  view_.position = position_of(view.position);
  view_.term = view.term;
  view_.leader = static_cast<NodeId>(view.leader);
  view_.committed = view.committed;
  view_.applied = view.applied;
  view_.last = view.last;
  view_.is_changing = view.is_changing;
  read_members(group_, view.servers, view_.members);
  if (view_.position == Position::failed && view_.failure.empty()) {
    view_.failure = failure_.empty() ? dvs_raft_message(group_) : failure_;
  }
  if (view_ == before) return;
  {
    const std::lock_guard guard(mutex_);
    status_ = view_;
  }
  if (view_.position != before.position || view_.term != before.term ||
      view_.leader != before.leader) {
    report(view_);
  }
}

void Engine::Loop::report(const EngineStatus& now) {
  config_.post([reaches = reaches_upper_, upper = &upper_, position = now.position, term = now.term,
                leader = now.leader] {
    if (reaches->load()) upper->on_role_change(position, term, leader);
  });
}

EngineStatus Engine::Loop::status() const {
  const std::lock_guard guard(mutex_);
  return status_;
}

}  // namespace dvs::cluster
