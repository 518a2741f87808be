// The API over HTTP/1.1 on a Unix socket, mode 0600: whoever may administer the node may speak.
//
// Coroutines on the daemon's loop; nothing blocks it. Everything has a bound: connections, the
// sizes of requests, and the time in which a client must have sent its request or read its reply. A
// client beyond one of them loses its connection and disturbs nobody else.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include <dvs/result.hpp>

#include "api/api_source.hpp"
#include "api/event_log.hpp"

namespace dvs::api {

struct ServerLimits {
  std::size_t connections_max = 64;  // the next one is answered 503
  std::size_t header_bytes_max = std::size_t{16} * 1024;
  std::size_t body_bytes_max = std::size_t{1024} * 1024;
  // From the beginning of the connection, or the end of the last reply, to the end of the request.
  std::chrono::milliseconds request_time_max{10'000};
  std::chrono::milliseconds reply_time_max{10'000};
};

class Server {
 public:
  // Listens at `path`. `io`, `source` and `events` must outlive the server, which makes itself the
  // listener of `events`. Errors: invalid_argument (path too long), system.
  static Result<std::unique_ptr<Server>> create(boost::asio::io_context& io,
                                                const std::string& path, ApiSource& source,
                                                EventLog& events, ServerLimits limits = {});
  // Either never started, or stop has completed.
  virtual ~Server() = default;

  virtual void start() = 0;
  // Closes all connections and completes when no coroutine of the server is left.
  virtual boost::asio::awaitable<void> stop() = 0;
  virtual std::size_t connections() const = 0;
};

}  // namespace dvs::api
