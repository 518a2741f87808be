// The C face of libdvk: translates arguments and results, decides nothing.
#include <dvk/dvk.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include <dvk/endpoint.hpp>
#include <dvs/export.hpp>

#define DVK_C extern "C" DVS_EXPORT

struct dvk_endpoint {
  dvk::Endpoint endpoint;
  dvk::Canceller canceller;
};

namespace {

using dvs::Errc;

thread_local std::string last_error;

int fail(const dvs::Error& error) {
  last_error = to_string(error);
  return -static_cast<int>(error.code);
}

template <class T>
int finish(const dvs::Result<T>& result) {
  return result ? 0 : fail(result.error());
}

int invalid(const char* what) {
  return fail({Errc::invalid_argument, 0, what});
}

dvk::Deadline deadline(int timeout_ms) {
  if (timeout_ms < 0) return {};
  if (timeout_ms == 0) return dvk::Deadline::now();
  return std::chrono::milliseconds(timeout_ms);
}

// What does not make sense without waiting gets a moment.
dvk::Deadline patience(int timeout_ms) {
  return timeout_ms == 0 ? dvk::Deadline(std::chrono::seconds(10)) : deadline(timeout_ms);
}

dvs::Address from_c(const dvk_address* address) {
  if (address == nullptr) return {};
  return {dvs::ContainerId{address->container}, dvs::EndpointId{address->id},
          dvs::Incarnation{address->incarnation}};
}

dvk_address to_c(const dvs::Address& address) {
  return {dvs::raw(address.container), 0, dvs::raw(address.id), dvs::raw(address.incarnation)};
}

dvs::BytesView view(const void* data, size_t bytes) {
  return {static_cast<const std::byte*>(data), bytes};
}

int hand_out(dvk::Endpoint endpoint, dvk_endpoint** out) {
  dvk::Canceller canceller = endpoint.canceller();
  *out = new dvk_endpoint{std::move(endpoint), std::move(canceller)};
  return 0;
}

int hand_out(const dvs::Bytes& payload, const dvk_incoming& head, void* buffer, dvk_incoming* out) {
  if (!payload.empty()) std::memcpy(buffer, payload.data(), payload.size());
  *out = head;
  out->bytes = payload.size();
  return 0;
}

dvk::Options options(const char* socket, const char* name, int timeout_ms) {
  return {.socket = socket != nullptr ? socket : "",
          .name = name != nullptr ? name : "",
          .deadline = patience(timeout_ms)};
}

}  // namespace

DVK_C const char* dvk_last_error(void) {
  return last_error.c_str();
}
DVK_C const char* dvk_error_name(int code) {
  return dvs::name_of(static_cast<Errc>(std::abs(code))).data();
}

DVK_C int dvk_open(const char* socket, const char* name, int is_backup, int timeout_ms,
                   dvk_endpoint** out) {
  if (out == nullptr) return invalid("out is NULL");
  dvk::Options wanted = options(socket, name, timeout_ms);
  wanted.is_backup = is_backup != 0;
  auto endpoint = dvk::Endpoint::open(wanted);
  return endpoint ? hand_out(*std::move(endpoint), out) : fail(endpoint.error());
}

DVK_C void dvk_close(dvk_endpoint* endpoint) {
  delete endpoint;
}

DVK_C int dvk_self(const dvk_endpoint* endpoint, dvk_address* out) {
  *out = to_c(endpoint->endpoint.address());
  return 0;
}

DVK_C int dvk_node(const dvk_endpoint* endpoint) {
  return dvs::raw(endpoint->endpoint.node());
}

DVK_C int dvk_lookup(dvk_endpoint* endpoint, const char* name, int timeout_ms, dvk_address* out) {
  if (name == nullptr || out == nullptr) return invalid("name and out must not be NULL");
  const auto found = endpoint->endpoint.lookup(name, patience(timeout_ms));
  if (found) *out = to_c(*found);
  return finish(found);
}

DVK_C int dvk_send(dvk_endpoint* endpoint, const dvk_address* to, const void* payload, size_t bytes,
                   int timeout_ms) {
  return finish(endpoint->endpoint.send(from_c(to), view(payload, bytes), deadline(timeout_ms)));
}

DVK_C int dvk_flush(dvk_endpoint* endpoint, const dvk_address* to, int timeout_ms) {
  return finish(endpoint->endpoint.flush(from_c(to), deadline(timeout_ms)));
}

DVK_C int dvk_receive(dvk_endpoint* endpoint, const dvk_address* from, void* buffer,
                      size_t buffer_bytes, int timeout_ms, dvk_incoming* out) {
  if (buffer_bytes < DVK_MESSAGE_BYTES_MAX) return invalid("the buffer is too small");
  auto item = from == nullptr ? endpoint->endpoint.receive(deadline(timeout_ms))
                              : endpoint->endpoint.receive_from(from_c(from), deadline(timeout_ms));
  if (!item) return fail(item.error());
  const dvk_incoming head{static_cast<int>(item->kind),
                          static_cast<int>(item->reason),
                          to_c(item->from),
                          item->call,
                          item->bits,
                          item->lost,
                          0};
  return hand_out(item->payload, head, buffer, out);
}

DVK_C int dvk_receive_request(dvk_endpoint* endpoint, void* buffer, size_t buffer_bytes,
                              int timeout_ms, dvk_incoming* out) {
  if (buffer_bytes < DVK_MESSAGE_BYTES_MAX) return invalid("the buffer is too small");
  auto request = endpoint->endpoint.receive_request(deadline(timeout_ms));
  if (!request) return fail(request.error());
  return hand_out(request->payload, {DVK_REQUEST, 0, to_c(request->from), request->call, 0, 0, 0},
                  buffer, out);
}

DVK_C int dvk_reply(dvk_endpoint* endpoint, const dvk_incoming* request, const void* payload,
                    size_t bytes) {
  if (request == nullptr || request->kind != DVK_REQUEST) return invalid("not a request");
  const dvk::Request answered{.from = from_c(&request->from), .call = request->call};
  return finish(endpoint->endpoint.reply(answered, view(payload, bytes)));
}

DVK_C int64_t dvk_call(dvk_endpoint* endpoint, const dvk_address* to, const void* payload,
                       size_t bytes, void* reply, size_t reply_bytes, int timeout_ms) {
  const auto answer =
      endpoint->endpoint.call(from_c(to), view(payload, bytes), deadline(timeout_ms));
  if (!answer) return fail(answer.error());
  if (answer->size() > reply_bytes) {
    return fail({Errc::message_too_large, 0, "the reply does not fit into the buffer"});
  }
  if (!answer->empty()) std::memcpy(reply, answer->data(), answer->size());
  return static_cast<int64_t>(answer->size());
}

DVK_C int dvk_notify(dvk_endpoint* endpoint, const dvk_address* to, uint64_t bits) {
  return finish(endpoint->endpoint.notify(from_c(to), bits));
}

DVK_C int dvk_watch(dvk_endpoint* endpoint, const dvk_address* peer) {
  return finish(endpoint->endpoint.watch(from_c(peer)));
}

DVK_C int dvk_grant(dvk_endpoint* endpoint, void* memory, size_t bytes, enum dvk_access access,
                    const dvk_address* to, uint64_t* grant) {
  if (grant == nullptr) return invalid("grant is NULL");
  const auto given = endpoint->endpoint.grant({static_cast<std::byte*>(memory), bytes},
                                              static_cast<dvk::Access>(access), from_c(to));
  if (given) *grant = dvs::raw(*given);
  return finish(given);
}

DVK_C int dvk_revoke(dvk_endpoint* endpoint, uint64_t grant, int timeout_ms) {
  return finish(endpoint->endpoint.revoke(dvk::GrantId{grant}, patience(timeout_ms)));
}

DVK_C int dvk_copy_from(dvk_endpoint* endpoint, const dvk_address* source, uint64_t grant,
                        uint64_t offset, void* target, size_t bytes, int timeout_ms) {
  return finish(endpoint->endpoint.copy_from({from_c(source), dvk::GrantId{grant}, offset},
                                             {static_cast<std::byte*>(target), bytes},
                                             deadline(timeout_ms)));
}

DVK_C int dvk_copy_to(dvk_endpoint* endpoint, const void* source, size_t bytes,
                      const dvk_address* target, uint64_t grant, uint64_t offset, int timeout_ms) {
  return finish(endpoint->endpoint.copy_to(
      view(source, bytes), {from_c(target), dvk::GrantId{grant}, offset}, deadline(timeout_ms)));
}

DVK_C int dvk_copy(dvk_endpoint* endpoint, const dvk_address* source, uint64_t source_grant,
                   uint64_t source_offset, const dvk_address* target, uint64_t target_grant,
                   uint64_t target_offset, uint64_t bytes, int timeout_ms) {
  return finish(endpoint->endpoint.copy({from_c(source), dvk::GrantId{source_grant}, source_offset},
                                        {from_c(target), dvk::GrantId{target_grant}, target_offset},
                                        bytes, deadline(timeout_ms)));
}

DVK_C int dvk_move_to(dvk_endpoint* endpoint, int node, const void* state, size_t bytes,
                      int timeout_ms) {
  if (node <= 0 || node > USHRT_MAX) return invalid("a node is numbered 1 to 65535");
  return finish(endpoint->endpoint.move_to(dvs::NodeId{static_cast<std::uint16_t>(node)},
                                           view(state, bytes), patience(timeout_ms)));
}

DVK_C int dvk_adopt(const char* socket, const char* name, const dvk_address* address,
                    int timeout_ms, dvk_endpoint** out, void** state, size_t* state_bytes) {
  if (out == nullptr || state == nullptr || state_bytes == nullptr) return invalid("NULL argument");
  auto adopted = dvk::Endpoint::adopt(options(socket, name, timeout_ms), from_c(address));
  if (!adopted) return fail(adopted.error());
  *state_bytes = adopted->state.size();
  *state = std::malloc(std::max<size_t>(1, *state_bytes));
  if (*state == nullptr) return fail({Errc::system, ENOMEM, "the moved state"});
  std::memcpy(*state, adopted->state.data(), *state_bytes);
  return hand_out(std::move(adopted->endpoint), out);
}

DVK_C void dvk_cancel(dvk_endpoint* endpoint) {
  endpoint->canceller.cancel();
}

DVK_C int dvk_poll_fd(const dvk_endpoint* endpoint) {
  return endpoint->endpoint.poll_fd();
}

DVK_C int dvk_prepare_sleep(dvk_endpoint* endpoint) {
  const auto sleep = endpoint->endpoint.prepare_sleep();
  if (!sleep) return -1000 + fail(sleep.error());
  if (*sleep == dvs::Duration::max()) return -1;
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(*sleep).count();
  return static_cast<int>(std::min<std::int64_t>(milliseconds, INT_MAX));
}

DVK_C int dvk_serve(dvk_endpoint* endpoint) {
  return finish(endpoint->endpoint.serve());
}
