// HTTP/1.1 over a Unix socket, one request a connection. Blocks.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <dvs/result.hpp>

namespace dvs::cli {

struct HttpReply {
  unsigned status = 0;
  std::string body;
};

class HttpClient {
 public:
  static constexpr auto default_patience = std::chrono::seconds(10);
  static constexpr std::size_t body_bytes_max = std::size_t{16} * 1024 * 1024;

  // `patience`: for the whole exchange; of a stream, for its beginning.
  explicit HttpClient(std::string socket, std::chrono::milliseconds patience = default_patience)
      : socket_(std::move(socket)), patience_(patience) {}

  const std::string& socket() const { return socket_; }

  // Errors: unreachable (nobody listens there), not_permitted (not ours to ask), deadline,
  // protocol_violation (no HTTP, or the reply broke off), system.
  Result<HttpReply> get(const std::string& target) const;
  Result<HttpReply> post(const std::string& target, const std::string& body) const;

  // Hands over each line of the reply as it comes, until it ends or `on_line` returns false. A
  // reply with an error status is returned whole instead.
  using OnLine = std::function<bool(std::string_view line)>;
  Result<HttpReply> stream(const std::string& target, const OnLine& on_line) const;

 private:
  std::string socket_;
  std::chrono::milliseconds patience_;
};

}  // namespace dvs::cli
