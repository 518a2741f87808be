// What an Endpoint does at its program's word: look up names, exchange messages, move away.
#include "dvk/lib/endpoint_impl.hpp"

namespace dvk {

// --- Names ---------------------------------------------------------------------------------------

Result<Address> EndpointImpl::lookup(std::string_view name, Deadline deadline) {
  DVS_CHECK(check_usable());
  if (name.empty() || name.size() > max_name_bytes) {
    return dvs::fail(Errc::invalid_argument, "a name has 1 to 255 bytes");
  }
  const std::uint64_t request = next_request_++;
  DVS_CHECK(attachment_.send(wire::NameQuery{request, std::string(name)}));
  const auto is_answered = [&] { return name_result_ && name_result_->request == request; };
  DVS_CHECK(wait_until(is_answered, deadline.is_now() ? Deadline(daemon_patience) : deadline));
  if (name_result_->error != Errc{}) return dvs::fail(name_result_->error, std::string(name));
  return name_result_->address;
}

Result<std::vector<NodeId>> EndpointImpl::nodes(Deadline deadline) {
  DVS_CHECK(check_usable());
  const std::uint64_t request = next_request_++;
  DVS_CHECK(attachment_.send(wire::NodesQuery{request}));
  DVS_CHECK(
      wait_until([&] { return nodes_result_ && nodes_result_->request == request; }, deadline));
  return nodes_result_->nodes;
}

// --- Messages ------------------------------------------------------------------------------------

// Waits until the peer is found, the first time, and then for room in the queue towards it.
Result<void> EndpointImpl::await_room(const Address& to, std::size_t bytes, Deadline deadline) {
  DVS_CHECK(ensure_route(to, deadline));
  if (core_->can_send(to, bytes)) return {};
  auto room = wait_until([&] { return core_->can_send(to, bytes); }, deadline);
  if (!room && room.error() == Errc::would_block) return dvs::fail(Errc::queue_full);
  return room;
}

Result<void> EndpointImpl::send(const Address& to, BytesView payload, Deadline deadline) {
  DVS_CHECK(core::EndpointCore::check_payload(payload));
  DVS_CHECK(await_room(to, payload.size(), deadline));
  now_ = std::chrono::steady_clock::now();
  DVS_CHECK(core_->send(to, dvs::to_bytes(payload), now_));
  send_off();
  return {};
}

Result<void> EndpointImpl::flush(const Address& to, Deadline deadline) {
  // A peer on this node does not wake us for an acknowledgement alone: look at short intervals.
  constexpr auto interval = std::chrono::milliseconds(1);
  while (true) {
    const dvs::TimePoint turn_end =
        deadline.is_now() ? deadline.at()
                          : std::min(deadline.at(), std::chrono::steady_clock::now() + interval);
    auto flushed = wait_until([&] { return core_->is_flushed(to); }, turn_end);
    if (flushed || flushed.error() != Errc::deadline) {
      DVS_CHECK(std::move(flushed));
      break;
    }
    if (now_ >= deadline.at()) return dvs::fail(Errc::deadline);
  }
  if (last_gone_ && last_gone_->first == to) return dvs::fail(last_gone_->second, to_string(to));
  if (const auto end = core_->end_of(to)) return dvs::fail(*end, to_string(to));
  return {};
}

Result<core::Incoming> EndpointImpl::take(const core::EndpointCore::Filter& filter,
                                          Deadline deadline) {
  DVS_CHECK(check_usable());
  now_ = std::chrono::steady_clock::now();
  std::optional<core::Incoming> item = core_->take(filter, now_);
  if (!item) {
    DVS_CHECK(wait_until(
        [&] {
          item = core_->take(filter, now_);
          return item.has_value();
        },
        deadline));
  }
  send_off();
  return *std::move(item);
}

Result<void> EndpointImpl::reply(const Address& to, std::uint64_t call, BytesView payload) {
  DVS_CHECK(check_usable());
  DVS_CHECK(core::EndpointCore::check_payload(payload));
  now_ = std::chrono::steady_clock::now();
  DVS_CHECK(core_->reply(to, call, dvs::to_bytes(payload), now_));
  send_off();
  return {};
}

Result<Bytes> EndpointImpl::call(const Address& to, BytesView payload, Deadline deadline) {
  DVS_CHECK(core::EndpointCore::check_payload(payload));
  DVS_CHECK(await_room(to, payload.size(), deadline));
  DVS_TRY(const std::uint64_t call, start_call(to, payload));
  auto result = finish_call(call, deadline);
  if (result) return result;
  const Errc code = result.error().code;
  if (code == Errc::deadline || code == Errc::cancelled || code == Errc::would_block) {
    cancel_call(call);
  }
  return result;
}

Result<std::uint64_t> EndpointImpl::start_call(const Address& to, BytesView payload) {
  DVS_CHECK(core::EndpointCore::check_payload(payload));
  DVS_CHECK(ensure_route(to, daemon_patience));
  now_ = std::chrono::steady_clock::now();
  DVS_TRY(const std::uint64_t call, core_->start_call(to, dvs::to_bytes(payload), now_));
  send_off();
  return call;
}

Result<Bytes> EndpointImpl::finish_call(std::uint64_t call, Deadline deadline) {
  std::optional<Result<Bytes>> result;
  const auto is_answered = [&] {
    result = core_->take_reply(call);
    return result.has_value();
  };
  auto waited = wait_until(is_answered, deadline);
  if (waited) return *std::move(result);
  // The daemon went, and with it every answer: the outcome is unknown.
  if (waited.error() == Errc::detached) return dvs::fail(Errc::unreachable, waited.error().detail);
  return std::unexpected(waited.error());
}

void EndpointImpl::cancel_call(std::uint64_t call) {
  if (end_) return;
  now_ = std::chrono::steady_clock::now();
  core_->cancel_call(call, now_);
  send_off();
}

Result<void> EndpointImpl::notify(const Address& to, std::uint64_t bits) {
  DVS_CHECK(ensure_route(to, daemon_patience));
  now_ = std::chrono::steady_clock::now();
  DVS_CHECK(core_->notify(to, bits, now_));
  send_off();
  return {};
}

Result<void> EndpointImpl::watch(const Address& peer) {
  DVS_CHECK(check_usable());
  now_ = std::chrono::steady_clock::now();
  core_->watch(peer, now_);
  send_off();
  return {};
}

// --- Moving --------------------------------------------------------------------------------------

Result<void> EndpointImpl::move_to(NodeId target, BytesView state, Deadline deadline) {
  DVS_CHECK(pump());
  core_->freeze();
  drop_all_paths();
  routed_.clear();
  move_result_.reset();
  const Bytes blob =
      wire::encode_fields(MovedState{.core = core_->save(), .application = dvs::to_bytes(state)});
  auto memory = lib::write_state(blob);
  if (memory) {
    const int fd = memory->get();
    DVS_CHECK(attachment_.send(wire::MoveOut{target, blob.size()}, {&fd, 1}));
    const auto is_decided = [&] { return move_result_.has_value(); };
    auto waited = wait_until(is_decided, deadline);
    if (!waited && !end_) {
      // Given up on our side; what was decided, we are told all the same.
      DVS_CHECK(attachment_.send(wire::MoveCancel{}));
      DVS_CHECK(wait_until(is_decided, daemon_patience));
      if (move_result_->error != Errc{})
        *move_result_ = {waited.error().code, waited.error().detail};
    }
    DVS_CHECK(check_usable());
  } else {
    move_result_ = wire::MoveResult{Errc::system, to_string(memory.error())};
  }
  const wire::MoveResult result = *std::exchange(move_result_, std::nullopt);
  if (result.error == Errc{}) {
    end({Errc::moved, 0, "to node " + std::to_string(dvs::raw(target))});
    return {};
  }
  thaw();
  return dvs::fail(result.error, result.detail);
}

void EndpointImpl::thaw() {
  core_->thaw(now_);
  for (const Address& peer : std::exchange(found_while_frozen_, {})) {
    (void)core_->find_route(peer);  // fails for who has ended meanwhile
  }
  send_off();
}
}  // namespace dvk
