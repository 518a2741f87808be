// The engine's requests: from the queue into libraft and back to whoever asked.
#include <fmt/format.h>

#include "base/assert.hpp"
#include "cluster/engine/engine_errors.hpp"
#include "cluster/engine/engine_loop.hpp"

namespace dvs::cluster {

namespace {

dvs_raft_role raft_role_of(Role role) {
  if (role == Role::voter) return DVS_RAFT_VOTER;
  return role == Role::standby ? DVS_RAFT_STANDBY : DVS_RAFT_SPARE;
}

}  // namespace

bool Engine::Loop::is_change(const EngineRequest& request) {
  using enum EngineRequest::Kind;
  return request.kind == add || request.kind == assign || request.kind == remove;
}

// Under mutex_: takes the request's share of the bounds, or says why not.
bool Engine::Loop::reserve(EngineRequest& request, Error& error) {
  if (is_stopping_) {
    error = {Errc::detached, 0, "the engine has been stopped"};
    return false;
  }
  const std::size_t bytes = request.entry.size();
  if (bytes > config_.proposal_bytes_max) {
    error = {Errc::message_too_large, 0,
             fmt::format("an entry of {} bytes, at most {}", bytes, config_.proposal_bytes_max)};
    return false;
  }
  if (outstanding_ >= config_.outstanding_max ||
      bytes > config_.outstanding_bytes_max - outstanding_bytes_) {
    error = {
        Errc::queue_full, 0,
        fmt::format("{} requests and {} bytes are under way", outstanding_, outstanding_bytes_)};
    return false;
  }
  ++outstanding_;
  outstanding_bytes_ += bytes;
  request.counted_bytes = bytes;
  return true;
}

void Engine::Loop::submit(EngineRequest request) {
  auto made = std::make_unique<EngineRequest>(std::move(request));
  Error error{};
  {
    const std::lock_guard guard(mutex_);
    if (reserve(*made, error)) {
      queue_.push_back(std::move(made));
      uv_async_send(&wake_);
      return;
    }
  }
  post_result(std::move(made->done), std::unexpected(std::move(error)));
}

void Engine::Loop::post_result(Completion done, Result<Committed> result) {
  if (!done) return;
  config_.post([done = std::move(done), result = std::move(result)] { done(result); });
}

void Engine::Loop::handle(Request request) {
  EngineRequest* stays = request.get();
  active_.emplace(stays, std::move(request));
  const dvs_raft_status status = hand_over(*stays);
  if (status != DVS_RAFT_OK) finish(stays, std::unexpected(refused(status)));
}

Error Engine::Loop::refused(dvs_raft_status status) {
  dvs_raft_view view{};
  dvs_raft_look(group_, &view);
  return refusal(status, view, failure_.empty() ? dvs_raft_message(group_) : failure_);
}

dvs_raft_status Engine::Loop::hand_over(EngineRequest& request) {
  dvs_raft_status status = DVS_RAFT_OK;
  switch (request.kind) {
    case EngineRequest::Kind::propose:
      status = dvs_raft_propose(group_, &request, request.entry.data(), request.entry.size(),
                                &request.index);
      if (status == DVS_RAFT_OK) by_index_[request.index] = &request;
      request.entry = {};
      return status;
    case EngineRequest::Kind::barrier: return dvs_raft_barrier(group_, &request);
    case EngineRequest::Kind::transfer:
      return dvs_raft_transfer(group_, &request, raw(request.node));
    case EngineRequest::Kind::accept:
      status = dvs_raft_accept(group_, raw(request.node), request.stream.release());
      finish(&request, Committed{});
      return DVS_RAFT_OK;
    case EngineRequest::Kind::add:
    case EngineRequest::Kind::assign:
    case EngineRequest::Kind::remove: return change(request);
  }
  return DVS_RAFT_INVALID;
}

dvs_raft_status Engine::Loop::change(EngineRequest& request) {
  publish();  // what libraft knows now, not when the turn began
  if (view_.position != Position::leader) return DVS_RAFT_NOT_LEADER;
  if (changing_ != nullptr || view_.is_changing) return DVS_RAFT_CHANGE_PENDING;
  const Member* found = nullptr;
  for (const Member& member : view_.members) {
    if (member.node == request.node) found = &member;
  }
  const dvs_raft_status status = change_member(request, found);
  if (status == DVS_RAFT_OK && active_.contains(&request)) changing_ = &request;
  return status;
}

// `member` is what the node is now, if anything. Finishes the request if there is nothing to
// change.
dvs_raft_status Engine::Loop::change_member(EngineRequest& request, const Member* member) {
  const auto role = raft_role_of(request.role);
  const std::uint64_t node = raw(request.node);
  const bool is_removal = request.kind == EngineRequest::Kind::remove;
  if (member == nullptr && request.kind == EngineRequest::Kind::assign) {
    return DVS_RAFT_UNKNOWN_SERVER;
  }
  if (member == nullptr ? is_removal : !is_removal && member->role == request.role) {
    finish(&request, Committed{});
    return DVS_RAFT_OK;
  }
  if (member == nullptr) return dvs_raft_change(group_, &request, DVS_RAFT_ADD, node, role);
  // It would go on leading a group that it does not count in, and then leave it without a leader.
  if (request.node == config_.node) {
    finish(&request,
           fail(Errc::invalid_argument,
                "this node leads the group: transfer leadership, then ask the new leader"));
    return DVS_RAFT_OK;
  }
  return dvs_raft_change(group_, &request, is_removal ? DVS_RAFT_REMOVE : DVS_RAFT_ASSIGN, node,
                         role);
}

// The node is a spare now; it is to be more.
void Engine::Loop::go_on_adding(EngineRequest* request) {
  const auto status = dvs_raft_change(group_, request, DVS_RAFT_ASSIGN, raw(request->node),
                                      raft_role_of(request->role));
  if (status != DVS_RAFT_OK) finish(request, std::unexpected(refused(status)));
}

void Engine::Loop::on_done(EngineRequest* request, dvs_raft_status status, std::uint64_t index) {
  const bool is_promise = request->kind == EngineRequest::Kind::propose ||
                          request->kind == EngineRequest::Kind::barrier;
  if (status == DVS_RAFT_OK) {
    if (request->kind == EngineRequest::Kind::add && request->role != Role::spare &&
        !std::exchange(request->is_added, true) && !is_closing_) {
      // libraft is in the middle of its turn: not from here.
      adding_.push_back(request);
      uv_async_send(&wake_);
      return;
    }
    return finish(request, Committed{index, std::move(request->answer)});
  }
  if (is_promise) return finish(request, std::unexpected(lost(status)));
  if (request->kind == EngineRequest::Kind::transfer && status == DVS_RAFT_NO_CONNECTION) {
    return finish(request, fail(Errc::deadline, "leadership was not taken over in time"));
  }
  finish(request, std::unexpected(unchanged(status, request->node)));
}

void Engine::Loop::finish(EngineRequest* request, Result<Committed> result) {
  const auto found = active_.find(request);
  DVS_ASSERT(found != active_.end());
  const Request taken = std::move(found->second);
  active_.erase(found);
  if (changing_ == request) changing_ = nullptr;
  if (request->index != 0) {
    const auto place = by_index_.find(request->index);
    if (place != by_index_.end() && place->second == request) by_index_.erase(place);
  }
  {
    const std::lock_guard guard(mutex_);
    --outstanding_;
    outstanding_bytes_ -= request->counted_bytes;
  }
  post_result(std::move(request->done), std::move(result));
}

}  // namespace dvs::cluster
