// Grants and copies of an Endpoint. Between two processes of one trust domain on one node the bytes
// go straight from memory to memory; everything else is ordered from the daemon.
#include "dvk/lib/endpoint_impl.hpp"
#include "runtime/process_memory.hpp"

namespace dvk {
namespace {

// The grant is looked at again before each piece, so a revoked one ends a long copy soon.
constexpr std::uint64_t direct_piece_bytes = 1024 * 1024;
// A peer whose conversation is being opened anew (it moves, or a link came back): ask again after.
constexpr auto not_ready_pause = std::chrono::milliseconds(5);

}  // namespace

Result<std::uint64_t> EndpointImpl::grant(const void* memory, std::size_t bytes, Access access,
                                          const Address& to) {
  DVS_CHECK(check_usable());
  return attachment_.grants.give(reinterpret_cast<std::uintptr_t>(memory), bytes,
                                 static_cast<grant::Access>(access), to);
}

Result<void> EndpointImpl::revoke(std::uint64_t grant, Deadline deadline) {
  DVS_CHECK(check_usable());
  DVS_CHECK(attachment_.grants.revoke(grant));
  const std::uint64_t request = next_request_++;
  DVS_CHECK(attachment_.send(wire::BarrierQuery{request}));
  return wait_until([&] { return barrier_ == request; }, deadline);
}

Result<void> EndpointImpl::ensure_routes(const wire::CopyOrder& order, Deadline deadline) {
  for (const Address& side : {order.source, order.target}) {
    if (side != core_->self()) DVS_CHECK(ensure_route(side, deadline));
  }
  return {};
}

Result<std::uint64_t> EndpointImpl::start_copy(const wire::CopyOrder& order) {
  DVS_CHECK(ensure_routes(order, daemon_patience));
  const std::uint64_t copy = next_copy_++;
  if (auto done = copy_directly(order)) {
    copies_[copy] = {.order = order, .is_done = true, .error = *done ? Errc{} : done->error().code};
    return copy;
  }
  DVS_CHECK(order_copy(copy, order));
  copies_[copy] = {.order = order};
  return copy;
}

Result<void> EndpointImpl::order_copy(std::uint64_t copy, const wire::CopyOrder& order) {
  const Bytes payload = wire::encode_fields(order);
  wire::PacketHeader header;
  header.kind = wire::PacketKind::copy_request;
  header.token = copy;
  header.set_source(core_->self());
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  const BytesView head(reinterpret_cast<const std::byte*>(&header), sizeof header);
  const auto try_push = [&] {
    const auto pushed = attachment_.to_daemon->push(head, payload);
    if (!pushed) end({Errc::detached, 0, "dvsd broke the protocol of its ring"});
    if (pushed && !*pushed) is_daemon_blocked_ = true;
    return !pushed || *pushed;
  };
  if (!try_push()) DVS_CHECK(wait_until(try_push, {}));
  DVS_CHECK(check_usable());
  is_daemon_dirty_ = true;
  send_off();
  return {};
}

Result<void> EndpointImpl::finish_copy(std::uint64_t copy, Deadline deadline) {
  const auto found = copies_.find(copy);
  if (found == copies_.end()) return dvs::fail(Errc::invalid_argument, "no such copy");
  while (true) {
    if (!found->second.is_done) {
      DVS_CHECK(wait_until([&] { return found->second.is_done; }, deadline));
    }
    if (found->second.error != Errc::not_ready) break;
    auto pause = wait_until([] { return false; }, std::min(deadline.at(), now_ + not_ready_pause));
    if (pause.error() != Errc::deadline || now_ >= deadline.at()) return pause;
    const wire::CopyOrder order = found->second.order;
    // The way may be gone by now: then the daemon would answer the same for ever.
    if (auto way = ensure_routes(order, deadline); !way) {
      if (way.error().code == Errc::deadline || way.error().code == Errc::cancelled) return way;
      copies_.erase(found);
      return way;
    }
    found->second.is_done = false;
    DVS_CHECK(order_copy(copy, order));
  }
  const Errc error = found->second.error;
  copies_.erase(found);
  if (error != Errc{}) return dvs::fail(error, "copy");
  return {};
}

void EndpointImpl::on_copy_result(std::uint64_t copy, BytesView payload) {
  const auto found = copies_.find(copy);
  const auto outcome = wire::decode_fields<wire::CopyOutcome>(payload);
  if (found == copies_.end() || !outcome) return;
  found->second.is_done = true;
  found->second.error = outcome->error;
}

// One side is this process, the other a neighbour of the same trust domain: done before it returns.
// Nothing: the daemon has to do it.
std::optional<Result<void>> EndpointImpl::copy_directly(const wire::CopyOrder& order) {
  const bool is_read = order.target == core_->self() && order.target_grant == 0;
  const bool is_write = order.source == core_->self() && order.source_grant == 0;
  if (is_read == is_write) return std::nullopt;
  lib::RingPath* path = ring_to(is_read ? order.source : order.target);
  if (path == nullptr || !path->grants || path->pid <= 0) return std::nullopt;
  auto moved = move_bytes(*path, order, is_read);
  if (!moved && moved.error() == Errc::not_permitted) {
    path->pid = 0;  // the kernel forbids it (ptrace scope): never again on this path
    return std::nullopt;
  }
  return moved;
}

Result<void> EndpointImpl::move_bytes(lib::RingPath& path, const wire::CopyOrder& order,
                                      bool is_read) {
  const std::uint64_t grant = is_read ? order.source_grant : order.target_grant;
  const std::uint64_t offset = is_read ? order.source_offset : order.target_offset;
  auto* own = reinterpret_cast<std::byte*>(is_read ? order.target_offset : order.source_offset);
  const auto access = is_read ? grant::Access::read : grant::Access::write;
  // The whole range first, so that nothing is copied under a grant that does not cover it.
  DVS_CHECK(path.grants->check(grant, core_->self(), offset, order.bytes, access));
  for (std::uint64_t done = 0; done < order.bytes;) {
    const std::uint64_t bytes = std::min(direct_piece_bytes, order.bytes - done);
    DVS_TRY(const std::uint64_t address,
            path.grants->check(grant, core_->self(), offset + done, bytes, access));
    if (is_read) {
      DVS_CHECK(dvs::runtime::read_process_memory(path.pid, address, {own + done, bytes}));
    } else {
      DVS_CHECK(dvs::runtime::write_process_memory(path.pid, address, {own + done, bytes}));
    }
    done += bytes;
  }
  // Had the process ended, its number might have meant another one.
  if (!dvs::runtime::is_alive(path.pidfd.get()).value_or(false)) return dvs::fail(Errc::peer_died);
  return {};
}

}  // namespace dvk
