// Control messages on their way to one process, which may read them slowly or never.
//
// Bounded. A message about how to reach a peer makes an older one about the same peer needless, so
// a peer that asks for a ring again and again cannot fill the queue of a process that does not
// read.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <dvs/ids.hpp>
#include <dvs/result.hpp>

#include "base/bytes.hpp"
#include "dvk/wire/attach_message.hpp"
#include "runtime/fd.hpp"

namespace dvk::daemon {

// Some descriptors go to many processes.
using SharedFd = std::shared_ptr<const dvs::runtime::Fd>;
inline SharedFd share(dvs::runtime::Fd fd) {
  return std::make_shared<const dvs::runtime::Fd>(std::move(fd));
}

class ControlQueue {
 public:
  static constexpr std::size_t messages_max = 1024;
  static constexpr std::size_t bytes_max = 4 * 1024 * 1024;

  // Queues the message with the descriptors that travel beside it. Error: queue_full (the process
  // does not read), message_too_large.
  dvs::Result<void> push(const wire::ToProcess& message, std::vector<SharedFd> fds);
  // Sends what the socket takes. True: nothing is left. Errors: peer_died, system.
  dvs::Result<bool> flush(int socket);

  bool is_empty() const { return messages_.empty(); }

 private:
  struct Message {
    dvs::Bytes bytes;
    std::vector<SharedFd> fds;
    std::optional<dvs::Address> route_to;  // a Route that a later one may replace
  };

  std::deque<Message> messages_;
  std::size_t bytes_ = 0;
};

}  // namespace dvk::daemon
