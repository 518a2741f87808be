// See http_client.hpp. All of Beast's client side is in this file, for the time it takes to
// compile.
#include "cli/http_client.hpp"

#include <array>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace dvs::cli {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

// One connection. Beast's stream has its timeouts only in asynchronous operations; each is run to
// its end here.
class Exchange {
 public:
  Exchange(const std::string& socket, std::chrono::milliseconds patience)
      : socket_(socket), stream_(io_) {
    stream_.expires_after(patience);
  }

  Result<void> connect();
  Result<void> write(http::verb verb, const std::string& target, const std::string& body);
  // The whole of the reply.
  Result<HttpReply> read();
  Result<HttpReply> read_lines(const HttpClient::OnLine& on_line);

 private:
  template <class Start>
  error_code finish(Start start);
  std::unexpected<Error> failed(const char* what, const error_code& error) const;

  std::string socket_;
  asio::io_context io_;
  beast::basic_stream<stream_protocol> stream_;
  beast::flat_buffer buffer_;
};

template <class Start>
error_code Exchange::finish(Start start) {
  error_code result;
  start([&](const error_code& error, auto...) { result = error; });
  io_.restart();
  io_.run();
  return result;
}

std::unexpected<Error> Exchange::failed(const char* what, const error_code& error) const {
  if (error == beast::error::timeout) {
    return fail(Errc::deadline, "the dvsd at " + socket_ +
                                    " does not answer in time; is it paused, or its machine busy?");
  }
  return fail(Errc::protocol_violation, std::string(what) + " " + socket_ + ": " + error.message());
}

Result<void> Exchange::connect() {
  if (socket_.size() >= sizeof(sockaddr_un{}.sun_path)) {
    return fail(Errc::invalid_argument, "the path of the socket is too long: " + socket_);
  }
  const stream_protocol::endpoint endpoint(socket_);
  const auto error = finish([&](auto then) { stream_.async_connect(endpoint, std::move(then)); });
  if (!error) return {};
  if (error == beast::error::timeout) return failed("connecting to", error);
  if (error == asio::error::access_denied) {
    return fail(Errc::not_permitted,
                "the dvsd at " + socket_ + " is for its owner alone; try it as root");
  }
  return fail(Errc::unreachable, "no dvsd answers at " + socket_ + " (" + error.message() + ")");
}

Result<void> Exchange::write(http::verb verb, const std::string& target, const std::string& body) {
  http::request<http::string_body> request(verb, target, 11);
  request.set(http::field::host, "dvsd");
  request.set(http::field::connection, "close");
  if (verb == http::verb::post) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  // A server that is too busy answers at once, and does not read: its answer says more.
  (void)finish([&](auto then) { http::async_write(stream_, request, std::move(then)); });
  return {};
}

Result<HttpReply> Exchange::read() {
  http::response_parser<http::string_body> parser;
  parser.body_limit(HttpClient::body_bytes_max);
  const auto error =
      finish([&](auto then) { http::async_read(stream_, buffer_, parser, std::move(then)); });
  if (error) return failed("reading from", error);
  return HttpReply{parser.get().result_int(), std::move(parser.get().body())};
}

// Hands over the whole lines of `text` and leaves the rest. False: `on_line` had enough.
bool take_lines(std::string& text, const HttpClient::OnLine& on_line) {
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    if (!on_line(std::string_view(text).substr(begin, end - begin))) return false;
    begin = end + 1;
  }
  text.erase(0, begin);
  return true;
}

Result<HttpReply> Exchange::read_lines(const HttpClient::OnLine& on_line) {
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  auto error = finish(
      [&](auto then) { http::async_read_header(stream_, buffer_, parser, std::move(then)); });
  if (error) return failed("reading from", error);
  HttpReply reply{parser.get().result_int(), {}};
  stream_.expires_never();
  std::array<char, 16 * 1024> piece;
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    error = finish(
        [&](auto then) { http::async_read_some(stream_, buffer_, parser, std::move(then)); });
    reply.body.append(piece.data(), piece.size() - parser.get().body().size);
    if (error && error != http::error::need_buffer) return failed("reading from", error);
    if (reply.status == 200 && !take_lines(reply.body, on_line)) break;
    if (reply.body.size() > HttpClient::body_bytes_max) {
      return fail(Errc::protocol_violation, "a line without end from " + socket_);
    }
  }
  return reply;
}

}  // namespace

Result<HttpReply> HttpClient::get(const std::string& target) const {
  Exchange exchange(socket_, patience_);
  DVS_CHECK(exchange.connect());
  DVS_CHECK(exchange.write(http::verb::get, target, {}));
  return exchange.read();
}

Result<HttpReply> HttpClient::post(const std::string& target, const std::string& body) const {
  Exchange exchange(socket_, patience_);
  DVS_CHECK(exchange.connect());
  DVS_CHECK(exchange.write(http::verb::post, target, body));
  return exchange.read();
}

Result<HttpReply> HttpClient::stream(const std::string& target, const OnLine& on_line) const {
  Exchange exchange(socket_, patience_);
  DVS_CHECK(exchange.connect());
  DVS_CHECK(exchange.write(http::verb::get, target, {}));
  return exchange.read_lines(on_line);
}

}  // namespace dvs::cli
