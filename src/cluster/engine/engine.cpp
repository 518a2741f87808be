#include "cluster/engine/engine.hpp"

#include <algorithm>

#include "cluster/engine/engine_loop.hpp"

namespace dvs::cluster {

namespace {

using Kind = EngineRequest::Kind;

Completion as_completion(Engine::OnVoid done) {
  return [done = std::move(done)](const Result<Committed>& result) {
    if (result) return done({});
    done(std::unexpected(result.error()));
  };
}

Result<void> check(const EngineConfig& config) {
  const char* wrong = nullptr;
  if (config.node == no_node) wrong = "node must be given";
  if (config.directory.empty()) wrong = "directory must be given";
  if (!config.post) wrong = "post must be given";
  if (config.heartbeat.count() < 1 || config.heartbeat * 2 > config.election_timeout) {
    wrong = "heartbeat must be at least 1 ms and at most half of election_timeout";
  }
  if (config.election_timeout.count() < 20 || config.election_timeout.count() > 60'000) {
    wrong = "election_timeout must be 20 to 60000 ms";
  }
  if (config.connect_retry.count() < 1 || config.connect_retry.count() > 60'000) {
    wrong = "connect_retry must be 1 to 60000 ms";
  }
  if (config.catch_up_round.count() < 1 || config.catch_up_round.count() > 3'600'000) {
    wrong = "catch_up_round must be 1 to 3600000 ms";
  }
  if (config.snapshot_entries == 0 || config.snapshot_bytes == 0 || config.outstanding_max == 0) {
    wrong = "snapshot_entries, snapshot_bytes and outstanding_max must not be 0";
  }
  if (config.proposal_bytes_max > config.outstanding_bytes_max ||
      config.proposal_bytes_max > std::size_t{4} << 20) {
    wrong = "proposal_bytes_max must be at most 4 MiB and at most outstanding_bytes_max";
  }
  if (wrong != nullptr) {
    return fail(Errc::invalid_argument, "engine at " + config.directory.string() + ": " + wrong);
  }
  return {};
}

}  // namespace

Engine::Engine(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::start(EngineConfig config, StateMachine& machine,
                                              EngineUpper& upper) {
  DVS_CHECK(check(config));
  auto loop = std::make_unique<Loop>(std::move(config), machine, upper);
  DVS_CHECK(loop->start());
  return std::unique_ptr<Engine>(new Engine(std::move(loop)));
}

void Engine::propose(Bytes entry, std::function<void(Result<Committed>)> done) {
  loop_->submit({.kind = Kind::propose, .entry = std::move(entry), .done = std::move(done)});
}

void Engine::barrier(std::function<void(Result<std::uint64_t>)> done) {
  loop_->submit({.kind = Kind::barrier, .done = [done = std::move(done)](const auto& result) {
                   if (result) return done(result->index);
                   done(std::unexpected(result.error()));
                 }});
}

void Engine::add(NodeId node, Role role, OnVoid done) {
  loop_->submit(
      {.kind = Kind::add, .node = node, .role = role, .done = as_completion(std::move(done))});
}

void Engine::assign(NodeId node, Role role, OnVoid done) {
  loop_->submit(
      {.kind = Kind::assign, .node = node, .role = role, .done = as_completion(std::move(done))});
}

void Engine::remove(NodeId node, OnVoid done) {
  loop_->submit({.kind = Kind::remove, .node = node, .done = as_completion(std::move(done))});
}

void Engine::transfer(NodeId node, OnVoid done) {
  loop_->submit({.kind = Kind::transfer, .node = node, .done = as_completion(std::move(done))});
}

void Engine::accept_stream(NodeId from, runtime::Fd stream) {
  loop_->submit({.kind = Kind::accept, .node = from, .stream = std::move(stream)});
}

EngineStatus Engine::status() const {
  return loop_->status();
}

void Engine::stop() {
  loop_->stop();
}

std::vector<NodeId> voters_of(const EngineStatus& status) {
  std::vector<NodeId> voters;
  for (const Member& member : status.members) {
    if (member.role == Role::voter) voters.push_back(member.node);
  }
  std::ranges::sort(voters);
  return voters;
}

}  // namespace dvs::cluster
