// See control_queue.hpp.
#include "dvk/daemon/control_queue.hpp"

#include <algorithm>

#include "runtime/unix_socket.hpp"

namespace dvk::daemon {

using dvs::Errc;
using dvs::fail;
using dvs::Result;

namespace {

// A Route that says "gone" must be seen: the library has to break off the conversation. A relay's
// reset is implied by any new path.
std::optional<dvs::Address> replaceable_route(const wire::ToProcess& message) {
  const auto* route = std::get_if<wire::Route>(&message);
  if (route == nullptr || route->kind == wire::RouteKind::gone) return std::nullopt;
  return route->peer;
}

}  // namespace

Result<void> ControlQueue::push(const wire::ToProcess& message, std::vector<SharedFd> fds) {
  const auto route_to = replaceable_route(message);
  const auto* route = std::get_if<wire::Route>(&message);
  wire::Route with_reset;
  if (route_to) {
    const auto older = std::ranges::find(messages_, route_to, &Message::route_to);
    if (older != messages_.end()) {
      bytes_ -= older->bytes.size();
      messages_.erase(older);
      with_reset = *route;
      with_reset.is_reset = route->kind == wire::RouteKind::relay;
    }
  }
  dvs::Bytes bytes = with_reset.is_reset ? wire::encode_variant(wire::ToProcess{with_reset})
                                         : wire::encode_variant(message);
  if (messages_.size() >= messages_max || bytes_ + bytes.size() > bytes_max) {
    return fail(Errc::queue_full, "the process does not read its control messages");
  }
  bytes_ += bytes.size();
  messages_.push_back({std::move(bytes), std::move(fds), route_to});
  return {};
}

Result<bool> ControlQueue::flush(int socket) {
  std::vector<int> numbers;
  while (!messages_.empty()) {
    const Message& message = messages_.front();
    numbers.clear();
    for (const SharedFd& fd : message.fds) numbers.push_back(fd->get());
    const auto result =
        dvs::runtime::send_packet(socket, message.bytes, numbers, dvs::runtime::Wait::no);
    if (!result && result.error() == Errc::would_block) return false;
    if (!result) return std::unexpected(result.error());
    bytes_ -= message.bytes.size();
    messages_.pop_front();
  }
  return true;
}

}  // namespace dvk::daemon
