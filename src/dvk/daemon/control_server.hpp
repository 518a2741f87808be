// The control socket: one packet is one command, a line of text; one packet is its answer, JSON.
//
// SOCK_SEQPACKET, mode 0600: for whoever administers the node, and for tests. Driven by events of
// the daemon's Waiter; never blocks. A client that does not read its answers is closed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <dvs/result.hpp>

#include "dvk/ring/waiter.hpp"
#include "runtime/fd.hpp"

namespace dvk::daemon {

class ControlServer {
 public:
  static constexpr std::uint64_t token_bit = std::uint64_t{1} << 60;
  static constexpr std::size_t clients_max = 16;

  using Handler = std::function<std::string(std::string_view command)>;

  // `handler` makes the answer to a command. Errors: system, invalid_argument (path too long).
  static dvs::Result<std::unique_ptr<ControlServer>> create(const std::string& path,
                                                            ring::Waiter& waiter, Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void on_event(const ring::Waiter::Event& event);

 private:
  ControlServer(std::string path, dvs::runtime::Fd listener, ring::Waiter& waiter, Handler handler);
  void accept();
  bool serve(int socket);

  std::string path_;
  dvs::runtime::Fd listener_;
  ring::Waiter& waiter_;
  Handler handler_;
  std::map<std::uint64_t, dvs::runtime::Fd> clients_;
  std::uint64_t next_client_ = 1;
};

// Sends one command to the control socket at `path` and returns the answer. Blocks. Errors:
// unreachable (no dvsd there), system.
dvs::Result<std::string> ask_daemon(const std::string& path, std::string_view command);

// The text as a JSON string, in quotes.
std::string json_text(std::string_view text);

}  // namespace dvk::daemon
