// The connection of one endpoint to its node's daemon: the attach socket, the two rings, and the
// waiter on which the endpoint sleeps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <dvk/deadline.hpp>

#include "dvk/grant/grant_table.hpp"
#include "dvk/ring/doorbell.hpp"
#include "dvk/ring/ring.hpp"
#include "dvk/ring/waiter.hpp"
#include "dvk/wire/attach_message.hpp"
#include "runtime/fd.hpp"
#include "runtime/unix_socket.hpp"

namespace dvk::lib {

using dvs::Address;
using dvs::Bytes;
using dvs::BytesView;
using dvs::Errc;
using dvs::Result;
using dvs::runtime::Fd;

// Two descriptors of the waiter's set are ours; tokens of the others begin above.
constexpr std::uint64_t token_socket = 1;
constexpr std::uint64_t token_cancel = 2;

struct ControlMessage {
  wire::ToProcess message;
  std::vector<Fd> fds;
};

class Attachment {
 public:
  // Connects and says hello. The answer is to be waited for by the caller (receive). Errors:
  // system, with a text that says what to do.
  static Result<Attachment> connect(const std::string& socket_path, const wire::Hello& hello);

  // Sets up the rings from a Welcome's descriptors. Errors: protocol_violation, system.
  Result<void> take_welcome(std::vector<Fd>& fds);

  // Errors: detached.
  Result<void> send(const wire::ToDaemon& message, std::span<const int> fds = {});
  // The next message, if there is one. Errors: detached, protocol_violation.
  Result<std::optional<ControlMessage>> receive();

  ring::Waiter waiter;
  grant::GrantTable grants;
  std::optional<ring::RingProducer> to_daemon;
  std::optional<ring::RingConsumer> from_daemon;
  std::optional<ring::Waker> daemon_waker;

 private:
  Attachment(Fd socket, ring::Waiter sleeper, grant::GrantTable table);

  Fd socket_;
  Bytes buffer_;
};

// Maps the state a move carries: sealed memory of at least `bytes`.
Result<Bytes> read_state(int fd, std::uint64_t bytes);
Result<Fd> write_state(BytesView state);

}  // namespace dvk::lib
