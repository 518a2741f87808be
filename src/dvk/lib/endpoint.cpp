// The public face of an endpoint; everything is done by EndpointImpl.
#include <dvk/endpoint.hpp>

#include "dvk/lib/endpoint_impl.hpp"

namespace dvk {
namespace {

Incoming to_public(core::Incoming item) {
  // The kinds have the same order in both.
  static_assert(static_cast<int>(core::Incoming::Kind::promoted) ==
                static_cast<int>(Incoming::Kind::promoted));
  return {.kind = static_cast<Incoming::Kind>(item.kind),
          .from = item.from,
          .payload = std::move(item.payload),
          .bits = item.bits,
          .call = item.call,
          .reason = item.reason,
          .lost = item.lost};
}

std::uint64_t address_of(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

}  // namespace

void Canceller::cancel() const noexcept {
  state_->event.signal();
}

Endpoint::Endpoint(std::unique_ptr<EndpointImpl> impl) : impl_(std::move(impl)) {}
Endpoint::Endpoint(Endpoint&&) noexcept = default;
Endpoint& Endpoint::operator=(Endpoint&&) noexcept = default;
Endpoint::~Endpoint() = default;

Result<Endpoint> Endpoint::open(const Options& options) {
  const auto kind = options.is_backup ? wire::HelloKind::backup : wire::HelloKind::open;
  DVS_TRY(auto impl, EndpointImpl::open(options, kind, {}, nullptr));
  return Endpoint(std::move(impl));
}

Result<Adopted> Endpoint::adopt(const Options& options, const Address& address) {
  if (options.name.empty() && !address) {
    return dvs::fail(Errc::invalid_argument, "adopt needs a name or an address");
  }
  Bytes state;
  DVS_TRY(auto impl, EndpointImpl::open(options, wire::HelloKind::adopt, address, &state));
  return Adopted{Endpoint(std::move(impl)), std::move(state)};
}

const Address& Endpoint::address() const {
  return impl_->core().self();
}
NodeId Endpoint::node() const {
  return impl_->node();
}

Result<Address> Endpoint::lookup(std::string_view name, Deadline deadline) {
  return impl_->lookup(name, deadline);
}
Result<std::vector<NodeId>> Endpoint::nodes(Deadline deadline) {
  return impl_->nodes(deadline);
}

Result<void> Endpoint::send(const Address& to, BytesView payload, Deadline deadline) {
  return impl_->send(to, payload, deadline);
}
Result<void> Endpoint::flush(const Address& to, Deadline deadline) {
  return impl_->flush(to, deadline);
}

Result<Incoming> Endpoint::receive(Deadline deadline) {
  DVS_TRY(auto item, impl_->take({}, deadline));
  return to_public(std::move(item));
}
Result<Incoming> Endpoint::receive_from(const Address& from, Deadline deadline) {
  DVS_TRY(auto item, impl_->take({.from = from}, deadline));
  return to_public(std::move(item));
}
Result<Request> Endpoint::receive_request(Deadline deadline) {
  DVS_TRY(auto item, impl_->take({.only_requests = true}, deadline));
  return Request{.from = item.from, .call = item.call, .payload = std::move(item.payload)};
}

Result<void> Endpoint::reply(const Request& request, BytesView payload) {
  return impl_->reply(request.from, request.call, payload);
}
Result<void> Endpoint::reply(const Incoming& request, BytesView payload) {
  if (request.kind != Incoming::Kind::request) {
    return dvs::fail(Errc::invalid_argument, "only a request can be answered");
  }
  return impl_->reply(request.from, request.call, payload);
}

Result<Bytes> Endpoint::call(const Address& to, BytesView payload, Deadline deadline) {
  return impl_->call(to, payload, deadline);
}
Result<CallId> Endpoint::start_call(const Address& to, BytesView payload) {
  DVS_TRY(const std::uint64_t call, impl_->start_call(to, payload));
  return CallId{call};
}
Result<Bytes> Endpoint::finish_call(CallId call, Deadline deadline) {
  return impl_->finish_call(dvs::raw(call), deadline);
}
void Endpoint::cancel_call(CallId call) {
  impl_->cancel_call(dvs::raw(call));
}

Result<void> Endpoint::notify(const Address& to, std::uint64_t bits) {
  return impl_->notify(to, bits);
}
Result<void> Endpoint::watch(const Address& peer) {
  return impl_->watch(peer);
}

Result<GrantId> Endpoint::grant(std::span<std::byte> memory, Access access, const Address& to) {
  DVS_TRY(const std::uint64_t grant, impl_->grant(memory.data(), memory.size(), access, to));
  return GrantId{grant};
}
Result<GrantId> Endpoint::grant(std::span<const std::byte> memory, const Address& to) {
  DVS_TRY(const std::uint64_t grant, impl_->grant(memory.data(), memory.size(), Access::read, to));
  return GrantId{grant};
}
Result<void> Endpoint::revoke(GrantId grant, Deadline deadline) {
  return impl_->revoke(dvs::raw(grant), deadline);
}

Result<void> Endpoint::copy_from(const Remote& source, std::span<std::byte> target,
                                 Deadline deadline) {
  DVS_TRY(const CopyId copy, start_copy_from(source, target));
  return finish_copy(copy, deadline);
}
Result<void> Endpoint::copy_to(BytesView source, const Remote& target, Deadline deadline) {
  DVS_TRY(const CopyId copy, start_copy_to(source, target));
  return finish_copy(copy, deadline);
}
Result<void> Endpoint::copy(const Remote& source, const Remote& target, std::uint64_t bytes,
                            Deadline deadline) {
  DVS_TRY(const CopyId copy, start_copy(source, target, bytes));
  return finish_copy(copy, deadline);
}

Result<CopyId> Endpoint::start_copy_from(const Remote& source, std::span<std::byte> target) {
  DVS_TRY(const std::uint64_t copy, impl_->start_copy({.source = source.endpoint,
                                                       .target = address(),
                                                       .source_grant = dvs::raw(source.grant),
                                                       .source_offset = source.offset,
                                                       .target_offset = address_of(target.data()),
                                                       .bytes = target.size()}));
  return CopyId{copy};
}
Result<CopyId> Endpoint::start_copy_to(BytesView source, const Remote& target) {
  DVS_TRY(const std::uint64_t copy, impl_->start_copy({.source = address(),
                                                       .target = target.endpoint,
                                                       .source_offset = address_of(source.data()),
                                                       .target_grant = dvs::raw(target.grant),
                                                       .target_offset = target.offset,
                                                       .bytes = source.size()}));
  return CopyId{copy};
}
Result<CopyId> Endpoint::start_copy(const Remote& source, const Remote& target,
                                    std::uint64_t bytes) {
  DVS_TRY(const std::uint64_t copy, impl_->start_copy({.source = source.endpoint,
                                                       .target = target.endpoint,
                                                       .source_grant = dvs::raw(source.grant),
                                                       .source_offset = source.offset,
                                                       .target_grant = dvs::raw(target.grant),
                                                       .target_offset = target.offset,
                                                       .bytes = bytes}));
  return CopyId{copy};
}
Result<void> Endpoint::finish_copy(CopyId copy, Deadline deadline) {
  return impl_->finish_copy(dvs::raw(copy), deadline);
}

Result<void> Endpoint::move_to(NodeId target, BytesView state, Deadline deadline) {
  return impl_->move_to(target, state, deadline);
}

Canceller Endpoint::canceller() const {
  return Canceller(impl_->canceller());
}
int Endpoint::poll_fd() const {
  return impl_->poll_fd();
}
Result<dvs::Duration> Endpoint::prepare_sleep() {
  return impl_->prepare_sleep();
}
Result<void> Endpoint::serve() {
  return impl_->serve();
}

}  // namespace dvk
