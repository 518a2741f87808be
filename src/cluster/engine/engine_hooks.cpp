// What libraft asks of the engine: the state machine, streams, and the end of it all.
#include <sys/socket.h>

#include "cluster/engine/engine_loop.hpp"

namespace dvs::cluster {

dvs_raft_hooks Engine::Loop::hooks() {
  dvs_raft_hooks result{};
  result.owner = this;
  result.apply = [](void* owner, std::uint64_t index, const void* data, std::size_t size) {
    return static_cast<Loop*>(owner)->apply(index, {static_cast<const std::byte*>(data), size});
  };
  result.snapshot = [](void* owner, std::uint64_t, dvs_raft_sink* sink) {
    return static_cast<Loop*>(owner)->snapshot(sink);
  };
  result.restore = [](void* owner, std::uint64_t index, const void* data, std::size_t size) {
    return static_cast<Loop*>(owner)->restore(index, {static_cast<const std::byte*>(data), size});
  };
  result.connect = [](void* owner, std::uint64_t node) {
    return static_cast<Loop*>(owner)->connect(static_cast<NodeId>(node));
  };
  result.done = [](void* owner, void* request, dvs_raft_status status, std::uint64_t index) {
    static_cast<Loop*>(owner)->on_done(static_cast<EngineRequest*>(request), status, index);
  };
  result.closed = [](void* owner) {
    auto* loop = static_cast<Loop*>(owner);
    uv_close(reinterpret_cast<uv_handle_t*>(&loop->wake_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&loop->before_sleep_), nullptr);
  };
  return result;
}

int Engine::Loop::apply(std::uint64_t index, BytesView entry) {
  Bytes answer = machine_.apply(index, entry);
  if (const auto found = by_index_.find(index); found != by_index_.end()) {
    found->second->answer = std::move(answer);
  }
  bytes_since_snapshot_ += entry.size();
  if (bytes_since_snapshot_ >= config_.snapshot_bytes && !is_snapshot_due_) {
    // libraft counts entries only: let it believe that there are enough of them.
    is_snapshot_due_ = true;
    dvs_raft_set_snapshot_entries(group_, 1);
  }
  return 0;
}

int Engine::Loop::snapshot(dvs_raft_sink* sink) {
  const Bytes state = machine_.snapshot();
  if (const int code = dvs_raft_put(sink, state.data(), state.size()); code != 0) return code;
  bytes_since_snapshot_ = 0;
  if (std::exchange(is_snapshot_due_, false)) {
    dvs_raft_set_snapshot_entries(group_, config_.snapshot_entries);
  }
  return 0;
}

int Engine::Loop::restore(std::uint64_t index, BytesView snapshot) {
  const auto restored = machine_.restore(index, snapshot);
  if (!restored) {
    failure_ = "the state machine refused a snapshot: " + to_string(restored.error());
    return -1;
  }
  bytes_since_snapshot_ = 0;
  return 0;
}

// libraft waits by itself after an attempt that failed, but not after a stream that broke: without
// this, one that breaks at once would be replaced without end.
int Engine::Loop::connect(NodeId to) {
  const std::uint64_t now_ms = uv_now(&loop_);
  const auto [tried, is_first] = tried_ms_.try_emplace(raw(to), now_ms);
  const auto retry_ms = static_cast<std::uint64_t>(config_.connect_retry.count());
  if (!is_first && now_ms - tried->second < retry_ms) return -1;
  tried->second = now_ms;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return -1;
  auto far = std::make_shared<runtime::Fd>(ends[1]);  // closes itself if nobody takes it
  config_.post([reaches = reaches_upper_, upper = &upper_, to, far] {
    if (reaches->load()) upper->wants_stream(to, std::move(*far));
  });
  return ends[0];
}

}  // namespace dvs::cluster
