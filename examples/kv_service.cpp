// A key-value service that its clients reach by name alone, with coroutines.
//
// Beside the plain requests "set KEY VALUE" and "get KEY" it knows "wait KEY", which is answered
// when the key is set: many such requests can be open while the one thread goes on serving.
#include <cstdio>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <dvk/async.hpp>

namespace {

using boost::asio::awaitable;

int give_up(const char* what, const dvk::Error& error) {
  std::fprintf(stderr, "kv_service: %s: %s\n", what, to_string(error).c_str());
  return 1;
}

class Store {
 public:
  explicit Store(dvk::AsyncEndpoint& endpoint) : endpoint_(endpoint) {}

  awaitable<void> serve() {
    while (auto request = co_await endpoint_.receive_request()) answer(*request);
    endpoint_.stop();
  }

 private:
  void answer(const dvk::Request& request) {
    std::istringstream words{std::string(request.text())};
    std::string verb, key, value;
    words >> verb >> key;
    std::getline(words >> std::ws, value);
    if (verb == "set") {
      values_[key] = value;
      for (const dvk::Request& waiting : waiting_[key]) reply(waiting, value);
      waiting_.erase(key);
      reply(request, "ok");
    } else if (verb == "wait" && !values_.contains(key)) {
      waiting_[key].push_back(request);
    } else if (verb == "get" || verb == "wait") {
      reply(request, values_.contains(key) ? values_[key] : "(not set)");
    } else {
      reply(request, "unknown verb: set, get or wait");
    }
  }
  void reply(const dvk::Request& request, std::string_view text) {
    // Fails only when the daemon is gone, which serve() learns as well.
    static_cast<void>(endpoint_.reply(request, dvk::as_bytes(text)));
  }

  dvk::AsyncEndpoint& endpoint_;
  std::map<std::string, std::string> values_;
  std::map<std::string, std::vector<dvk::Request>> waiting_;
};

int serve(dvk::Endpoint attached) {
  boost::asio::io_context io;
  dvk::AsyncEndpoint endpoint(io.get_executor(), std::move(attached));
  Store store(endpoint);
  boost::asio::co_spawn(io, store.serve(), boost::asio::detached);
  boost::asio::co_spawn(io, endpoint.run(), boost::asio::detached);
  std::fputs("serving\n", stderr);
  io.run();
  return 1;  // only when the daemon is gone
}

int ask(dvk::Endpoint& endpoint, const std::string& name, const std::string& request) {
  const auto server = endpoint.lookup(name);
  if (!server) return give_up("lookup", server.error());
  const auto reply = endpoint.call(*server, dvk::as_bytes(request));
  if (!reply) return give_up("call", reply.error());
  std::printf("%.*s\n", static_cast<int>(reply->size()), dvk::as_text(*reply).data());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool is_server = argc == 3 && std::string_view(argv[1]) == "serve";
  if (!is_server && (argc < 4 || std::string_view(argv[1]) != "ask")) {
    std::fputs("usage: kv_service serve NAME | ask NAME set KEY VALUE|get KEY|wait KEY\n", stderr);
    return 2;
  }
  auto endpoint = dvk::Endpoint::open({.name = is_server ? argv[2] : ""});
  if (!endpoint) return give_up("open", endpoint.error());
  if (is_server) return serve(*std::move(endpoint));
  std::string request;
  for (int i = 3; i < argc; ++i) request += std::string(i > 3 ? " " : "") + argv[i];
  return ask(*endpoint, argv[2], request);
}
