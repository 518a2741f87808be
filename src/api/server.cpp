// See server.hpp. All of Beast's server side is in this file, for the time it takes to compile.
#include "api/server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <list>
#include <optional>
#include <tuple>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <fmt/format.h>

#include "api/routes.hpp"
#include "dvk/link/task_scope.hpp"

namespace dvs::api {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::awaitable;
using asio::local::stream_protocol;
using boost::system::error_code;
using namespace std::chrono_literals;

namespace {

using Stream = beast::basic_stream<stream_protocol>;
using HttpRequest = http::request<http::string_body>;
constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

constexpr std::size_t event_piece_bytes = std::size_t{64} * 1024;
// After descriptors ran out, so that the loop is not kept busy by failures.
constexpr auto accept_pause = 100ms;
// So long readers of streams may take to hear that they end.
constexpr auto farewell_time = 100ms;
constexpr auto farewell_step = 5ms;

std::optional<Method> method_of(http::verb verb) {
  if (verb == http::verb::get) return Method::get;
  if (verb == http::verb::post) return Method::post;
  return std::nullopt;
}

http::response<http::string_body> to_http(Reply reply, unsigned version, bool keep_alive) {
  http::response<http::string_body> response(http::int_to_status(reply.status), version);
  response.set(http::field::content_type, reply.content_type);
  response.keep_alive(keep_alive);
  response.body() = std::move(reply.body);
  response.prepare_payload();
  return response;
}

// What to say to a request that could not be read; nothing when nobody is there to hear it.
std::optional<Reply> reply_to_failure(const error_code& error, const ServerLimits& limits) {
  if (error == http::error::body_limit) {
    return problem(413, Errc::message_too_large, "the body is too large",
                   fmt::format("send at most {} bytes", limits.body_bytes_max));
  }
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return problem(431, Errc::message_too_large, "the header is too large",
                   fmt::format("send at most {} bytes", limits.header_bytes_max));
  }
  const bool is_over = error == http::error::end_of_stream || error == http::error::partial_message;
  if (is_over || error.category() != make_error_code(http::error::bad_method).category()) {
    return std::nullopt;
  }
  return problem(400, Errc::protocol_violation, "this is no HTTP: " + error.message(),
                 "speak HTTP/1.1");
}

class HttpServer final : public Server {
 public:
  HttpServer(asio::io_context& io, std::string path, ApiSource& source, EventLog& events,
             ServerLimits limits)
      : io_(io),
        path_(std::move(path)),
        source_(source),
        events_(events),
        limits_(limits),
        acceptor_(io),
        scope_(io) {}
  ~HttpServer() override { events_.on_append({}); }
  Result<void> open();

  void start() override;
  awaitable<void> stop() override;
  std::size_t connections() const override { return connections_.size(); }

 private:
  struct Connection {
    Connection(stream_protocol::socket socket, asio::io_context& io)
        : stream(std::move(socket)), news(io) {}
    Stream stream;
    bool is_streaming = false;
    asio::steady_timer news;  // cancelled when there are events, or the server stops
  };

  awaitable<void> accept_forever();
  void refuse(stream_protocol::socket socket);
  awaitable<void> serve(std::list<Connection>::iterator connection);
  awaitable<void> converse(Connection& connection);
  awaitable<bool> write(Connection& connection, http::response<http::string_body> response);
  awaitable<void> write_events(Connection& connection, EventStream stream);
  awaitable<bool> write_chunk(Connection& connection, std::string text);
  awaitable<bool> wait_for_news(Connection& connection);

  asio::io_context& io_;
  std::string path_;
  ApiSource& source_;
  EventLog& events_;
  ServerLimits limits_;
  stream_protocol::acceptor acceptor_;
  std::list<Connection> connections_;
  bool is_stopping_ = false;
  dvk::link::TaskScope scope_;
};

// A socket file left by an earlier daemon is replaced; that no other one uses it, the lock of the
// run directory says.
Result<void> HttpServer::open() {
  if (path_.size() >= sizeof(sockaddr_un{}.sun_path)) {
    return fail(Errc::invalid_argument, "the path of the API's socket is too long: " + path_ +
                                            "; choose a shorter run directory");
  }
  ::unlink(path_.c_str());
  error_code error;
  acceptor_.open(stream_protocol(), error);
  // Nobody else can get in between: what cannot be connected to needs no permissions yet.
  if (!error) acceptor_.bind(stream_protocol::endpoint(path_), error);
  if (!error && ::chmod(path_.c_str(), 0600) != 0) return fail_os("chmod " + path_);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail_os("listening at " + path_, error.value());
  return {};
}

void HttpServer::start() {
  events_.on_append([this] {
    for (Connection& connection : connections_) connection.news.cancel();
  });
  scope_.spawn(accept_forever());
}

awaitable<void> HttpServer::stop() {
  is_stopping_ = true;
  error_code ignored;
  acceptor_.close(ignored);
  ::unlink(path_.c_str());
  for (Connection& connection : connections_) {
    connection.news.cancel();
    if (!connection.is_streaming) connection.stream.close();
  }
  // Streams are ended in order, unless their reader is too slow for that.
  asio::steady_timer pause(io_);
  for (auto waited = 0ms; waited < farewell_time && !connections_.empty();
       waited += farewell_step) {
    pause.expires_after(farewell_step);
    co_await pause.async_wait(as_result);
  }
  for (Connection& connection : connections_) connection.stream.close();
  co_await scope_.stop();
}

awaitable<void> HttpServer::accept_forever() {
  while (!is_stopping_) {
    auto [error, socket] = co_await acceptor_.async_accept(as_result);
    if (is_stopping_) co_return;
    if (error) {
      asio::steady_timer pause(io_, accept_pause);
      co_await pause.async_wait(as_result);
    } else if (connections_.size() >= limits_.connections_max) {
      refuse(std::move(socket));
    } else {
      connections_.emplace_back(std::move(socket), io_);
      scope_.spawn(serve(std::prev(connections_.end())));
    }
  }
}

// Into the empty buffer of a new socket the few bytes go at once.
void HttpServer::refuse(stream_protocol::socket socket) {
  const Reply reply = problem(503, Errc::queue_full, "too many connections",
                              "close some, or try again in a moment");
  const std::string text = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {}\r\nContent-Length: {}\r\n"
      "Connection: close\r\n\r\n{}",
      reply.content_type, reply.body.size(), reply.body);
  ::send(socket.native_handle(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

awaitable<void> HttpServer::serve(std::list<Connection>::iterator connection) {
  co_await converse(*connection);
  connection->stream.close();
  connections_.erase(connection);
}

awaitable<void> HttpServer::converse(Connection& connection) {
  beast::flat_buffer buffer(limits_.header_bytes_max + limits_.body_bytes_max);
  bool keep_alive = true;
  while (keep_alive && !is_stopping_) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
    parser.body_limit(limits_.body_bytes_max);
    connection.stream.expires_after(limits_.request_time_max);
    const auto [error, bytes] =
        co_await http::async_read(connection.stream, buffer, parser, as_result);
    if (error) {
      auto reply = reply_to_failure(error, limits_);
      if (reply) co_await write(connection, to_http(*std::move(reply), 11, false));
      co_return;
    }
    const HttpRequest request = parser.release();
    Reply reply =
        answer({source_, events_}, {.method = method_of(request.method()),
                                    .target = {request.target().data(), request.target().size()},
                                    .body = request.body()});
    if (reply.events && request.version() < 11) {
      reply = problem(400, Errc::unsupported, "a stream needs chunks", "speak HTTP/1.1");
    }
    keep_alive = request.keep_alive() && !reply.events;
    if (reply.events) {
      co_await write_events(connection, *reply.events);
    } else {
      auto response = to_http(std::move(reply), request.version(), keep_alive);
      if (!co_await write(connection, std::move(response))) co_return;
    }
  }
}

awaitable<bool> HttpServer::write(Connection& connection,
                                  http::response<http::string_body> response) {
  connection.stream.expires_after(limits_.reply_time_max);
  const auto [error, bytes] = co_await http::async_write(connection.stream, response, as_result);
  co_return !error;
}

// --- The stream of events ------------------------------------------------------------------------

awaitable<void> HttpServer::write_events(Connection& connection, EventStream stream) {
  connection.is_streaming = true;
  http::response<http::empty_body> header(http::status::ok, 11);
  header.set(http::field::content_type, "application/x-ndjson");
  header.keep_alive(false);
  header.chunked(true);
  http::response_serializer<http::empty_body> serializer(header);
  connection.stream.expires_after(limits_.reply_time_max);
  const auto [error, bytes] =
      co_await http::async_write_header(connection.stream, serializer, as_result);
  if (error) co_return;
  std::uint64_t since = stream.since;
  while (!is_stopping_) {
    EventLog::Piece piece = events_.read(since, event_piece_bytes);
    since = piece.until;
    if (!piece.text.empty()) {
      if (!co_await write_chunk(connection, std::move(piece.text))) co_return;
    } else if (!stream.follow) {
      break;
    } else if (!co_await wait_for_news(connection)) {
      co_return;
    }
  }
  connection.stream.expires_after(limits_.reply_time_max);
  co_await asio::async_write(connection.stream, http::make_chunk_last(), as_result);
}

awaitable<bool> HttpServer::write_chunk(Connection& connection, std::string text) {
  connection.stream.expires_after(limits_.reply_time_max);
  const auto [error, bytes] = co_await asio::async_write(
      connection.stream, http::make_chunk(asio::buffer(text)), as_result);
  co_return !error;
}

// False: the client is gone, or says what nobody asked for.
awaitable<bool> HttpServer::wait_for_news(Connection& connection) {
  using namespace asio::experimental::awaitable_operators;
  connection.stream.expires_never();
  connection.news.expires_at(asio::steady_timer::time_point::max());
  const auto first = co_await (
      connection.news.async_wait(as_result) ||
      connection.stream.socket().async_wait(stream_protocol::socket::wait_read, as_result));
  co_return first.index() == 0;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::create(asio::io_context& io, const std::string& path,
                                               ApiSource& source, EventLog& events,
                                               ServerLimits limits) {
  auto server = std::make_unique<HttpServer>(io, path, source, events, limits);
  DVS_CHECK(server->open());
  return server;
}

}  // namespace dvs::api
